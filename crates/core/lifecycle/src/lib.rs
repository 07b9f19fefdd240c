//! Access requests, approvals, grants and sessions: `decide` turns commands into events, `evolve` events into state.
//!
//! The rules no policy can lift are here: never the requester, distinct people, one grant and one run per access request,
//! one absolute deadline. No clock, no chance, no I/O.

mod access;
mod decide;
mod directory;
mod event;
mod session;

pub use access::{Access, AccessEvent, AccessState, Actor, Approval, Evidence, ExactOutcome, Start, TransactionEnd, Withdrawal, evolve};
pub use decide::{Command, Refused, Reviewer, check_reviewer, decide, replay, tally};
pub use directory::{ADMINISTRATORS, Described, Directory, DirectoryEvent, GroupDescription, PersonDescription};
pub use event::{Event, InvalidStream, StreamId, UnreadableEvent};
pub use session::{
    Chunk, Credential, LeftOut, NodeEvent, PolicyEvent, Retirement, Session, SessionEvent, SignInEvent, Vouched, evolve as evolve_session,
};
