//! Evidence: what a person's signature under a verdict proves, and to whom.
//!
//! A *statement* names the digest of the envelope, the verdict, the approver and until when it counts; an SSHSIG signature covers it.
//! Here it is decided whether both belong together and whether they count for one access request at one moment. No clock, no
//! directory, no store: the keys people have enrolled, the time and what is asked for are arguments.

mod key;
mod proof;
mod roster;
mod signature;
mod statement;
mod wire;

pub use key::{InvalidKey, PublicKey};
pub use proof::{Enrolled, Moment, Proved, SignedApproval, Site, Unproved, check_presence, prove, prove_all};
pub use roster::{InvalidRoots, InvalidRoster, Member, ROSTER_NAMESPACE, Roots, Roster};
pub use signature::{InvalidSignature, Made, Page, Presence, Signature, to_be_signed};
pub use statement::{CLOCK_TOLERANCE_SECONDS, InvalidStatement, NAMESPACE, Statement, Verdict, counts_at_most_until};
