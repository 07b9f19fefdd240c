//! The PostgreSQL door: sockets, TLS and upstream credentials around `core/protocol`.
//!
//! Decodes, asks `app`, and forwards, holds or refuses. It decides nothing itself.

mod cancel;
mod config;
mod executor;
mod greeting;
mod holding;
mod inspect;
mod journal;
mod judge;
mod listener;
mod minting;
mod opening;
mod pipes;
mod readahead;
mod relay;
mod remains;
mod scram;
mod session;
mod settings;
mod sign_in;
mod signal;
mod signals;
mod socket;
mod statistics;
mod stream;
mod transport;
mod upstream;
mod waiting;
mod wire;

pub use config::{ALPN, DoorConfig, Limits};
pub use executor::PostgresExecutor;
pub use inspect::{Finding, Level, inspect};
pub use listener::Gateway;
pub use minting::PostgresMinting;
pub use statistics::PostgresStatistics;
pub use upstream::{SecretUnavailable, Secrets};
