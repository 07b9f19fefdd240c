//! What the tests share: a throwaway PostgreSQL, a small client for its simple protocol, and the corpus of evasions.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)] // each test uses a part; a failed step ends the test

pub mod client;
pub mod evasions;
pub mod server;
