//! Use cases, the ports they need, and the one `authorize`.
//!
//! All state changes go through one writer: a unit of work is decided on a copy of the world, stored, and only then becomes the world.

mod admin;
mod answers;
mod authorize;
mod bells;
mod bundles;
mod decisions;
mod door;
mod door_secrets;
mod door_session;
mod effective_clock;
mod facts;
mod floods;
mod identity;
mod insights;
mod judge;
mod ledger;
mod meters;
mod minting;
mod minting_port;
mod news;
mod node;
mod open_access;
pub mod ports;
mod problem;
mod publish;
mod requests;
mod rights;
mod runs;
mod start;
mod sweep;
mod tick;
mod traces;
mod views;
mod world;

pub use admin::OneTime;
pub use answers::GivenAnswer;
pub use authorize::{Charge, Refusal, StatementAsk, Verdict};
pub use bells::Bell;
pub use bundles::BundleView;
pub use door::{DoorLookup, DoorRefused, SessionEnd, Standing};
pub use door_secrets::DoorSecret;
pub use door_session::{DoorSession, Hold, HoldOutcome, Write};
pub use identity::{Caller, SignedIn, TokenView};
pub use insights::{Came, Counted, Insights, TimeToDecide};
pub use ledger::Proof;
pub use meters::{Meters, Times, Turned};
pub use news::Missed;
pub use node::{App, DoorAddress, Ports, Settings};
pub use problem::{Problem, ProblemKind};
pub use publish::News;
pub use requests::{AskedFor, NewAccessRequest, Preview};
pub use start::{Person, SecretError, StartError, read_secret};
pub use traces::{AccessSteps, Happened, SessionSteps, StatementStep, Traced};
pub use views::{AccessView, ExplainQuestion, List, Replay, ResourceView, Status};
