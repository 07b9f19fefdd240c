//! The vocabulary: ids, principals, resources, actions, envelopes, decisions, permits and time.
//!
//! Values here are valid because nothing else can be made. No clock, no chance, no I/O.

mod action;
mod copy_data;
mod decision;
mod digest;
mod envelope;
mod id;
pub mod lookalikes;
mod operation;
mod permit;
mod principal;
mod quorum;
mod rendering;
mod resource;
pub mod text;
mod time;
mod token_scope;

pub use action::{Action, Change, Narrowing, Parameter, Scope, SqlAction};
pub use copy_data::CopyData;
pub use decision::{Audit, Decision, Level, Obligations, Outcome, Reason, Record};
pub use digest::{Digest, InvalidDigest, NotCanonical, canonical};
pub use envelope::{Asked, Envelope, Origin};
pub use id::{AccessRequestId, GrantId, GroupName, InvalidId, PrincipalName, ResourceName, SessionId, SignInId};
pub use operation::{Operation, OperationSet, UnknownOperation};
pub use permit::{MintingKey, Permit};
pub use principal::{Manager, PersonAttribute, Principal, PrincipalKind};
pub use quorum::{Bar, Counted, Quorum};
pub use rendering::Line;
pub use resource::{
    Credentials, InvalidSecretRef, Minted, Postgres, Resource, ResourceKind, SESSION_ROLE_PREFIX, SecretRef, Sensitivity, UpstreamTls,
};
pub use text::{UnfitText, Words};
pub use time::{InvalidTimestamp, InvalidTtl, Timestamp, Ttl};
pub use token_scope::{InvalidTokenScope, TokenScope, TokenScopes};
