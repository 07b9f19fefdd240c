//! What tests need: a hand-moved clock, seeded randomness, in-memory ports, the suites that every port passes, and a real
//! PostgreSQL server.
//!
//! A dev-dependency only. Unit tests inside `app` can't use the ports here (they see another build of `app`); tests under
//! `app/tests` can.
#![allow(clippy::panic, clippy::unwrap_used, clippy::expect_used, reason = "a test that can't go on says so and stops")]

mod build;
mod clock;
pub mod conformance;
mod memory_recorder;
mod memory_store;
mod postgres;
pub mod signers;
mod signing;

pub use build::{
    envelope, gateway, node_started, parsed, person, person_created, postgres_resource, session_opened, sql, ttl, window, words, workload,
};
pub use clock::{DryEntropy, START, TestClock, TestEntropy, minutes};
pub use memory_recorder::MemoryRecorder;
pub use memory_store::MemoryStore;
pub use postgres::{PostgresServer, as_the_servers_user};
pub use signing::TestSigner;
