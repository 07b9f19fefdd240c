//! What the tests against a real server share: a throwaway PostgreSQL and a small client for its simple protocol.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)] // each test uses a part; a failed step ends the test

pub mod client;
pub mod server;
