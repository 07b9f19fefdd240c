//! Fuzz targets: what must hold for any bytes that a client, a server or an author of policy may send.
//!
//! Each is a function over bytes that panics when something does not hold. `tests/brief.rs` drives them over seeds and seeded mutations in
//! every test run, `make fuzz` over many more.
#![allow(clippy::panic, clippy::expect_used, reason = "a target says by a panic what does not hold")]

mod bundle;
mod mutate;
mod sql;
mod wire;

pub use bundle::bundle;
pub use mutate::Mutator;
pub use sql::sql;
pub use wire::{frame, wire};

/// One target with inputs to begin with.
pub struct Target {
    pub name: &'static str,
    pub run: fn(&[u8]),
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All targets.
pub const TARGETS: [Target; 3] = [
    Target { name: "wire", run: wire, seeds: wire::seeds },
    Target { name: "sql", run: sql, seeds: sql::seeds },
    Target { name: "bundle", run: bundle, seeds: bundle::seeds },
];
