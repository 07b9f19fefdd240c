//! A SCIM 2.0 server (RFC 7643, RFC 7644): people and groups as an identity provider keeps them.
//!
//! Reads what comes in, asks the use cases, writes down the answer. Its token is good here and nowhere else, and no other token is good
//! here. What a source may decide about is the application's business; what it sends and is not kept is dropped, secrets first.

mod answer;
mod discovery;
mod filter;
mod groups;
mod lists;
mod patch;
mod people;
mod routes;
mod settings;
mod written;

pub use routes::{Guard, router};
pub use settings::{Scim, Settings, WeakToken};

/// Largest body of a call, in bytes.
pub(crate) const BODY_BYTES: usize = 1024 * 1024;
/// Most resources in one answer.
pub(crate) const MOST_PER_PAGE: usize = 200;
