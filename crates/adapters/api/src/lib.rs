//! The HTTP API, its OpenAPI document and its server-sent events.
//!
//! Reads what comes in, asks the use cases, writes down the answer. Decides nothing: no handler knows who may do what. A `GET` never
//! changes anything, and no route can be missing from the document, because routes and document are made from one list.

mod attempts;
mod browser;
pub mod dto;
mod extract;
mod headers;
mod idempotency;
mod problem;
mod reach;
mod routes;
mod server;
mod state;

pub use extract::Source;
pub use problem::Failure;
pub use routes::{figures_router, openapi, router};
pub use server::{serve, serve_plain, url};
pub use state::ApiConfig;

/// Largest body of an ordinary call.
pub(crate) const BODY_BYTES: usize = 1024 * 1024;
/// Largest body of a call that carries a policy bundle.
pub(crate) const POLICY_BODY_BYTES: usize = 4 * 1024 * 1024 + BODY_BYTES;
