//! Problems: what goes wrong for a caller, with a stable code, the reason and the next step. One page each in `docs/errors`.

use safeconduct_lifecycle::Refused;
use safeconduct_model::{Asked, Decision, NotCanonical, Timestamp};

use crate::{
    ports::{NoEntropy, RecordingError, StoreError},
    requests::SignInAgain,
};

/// The error of every use case.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Problem {
    /// Stable, with a page `docs/errors/CODE.md`.
    pub code: &'static str,
    pub kind: ProblemKind,
    /// One sentence for people.
    pub message: String,
    pub why: Option<String>,
    /// What to do about it.
    pub next: Option<String>,
}

/// Whose fault it is, roughly: decides the HTTP status and the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProblemKind {
    Invalid,
    NotSignedIn,
    Denied,
    NotFound,
    Conflict,
    Expired,
    TooMany,
    Unavailable,
}

impl Problem {
    /// A problem without reason and next step.
    #[must_use]
    pub fn new(code: &'static str, kind: ProblemKind, message: impl Into<String>) -> Self {
        Self { code, kind, message: message.into(), why: None, next: None }
    }

    /// Adds the reason.
    #[must_use]
    pub fn why(mut self, why: impl Into<String>) -> Self {
        self.why = Some(why.into());
        self
    }

    /// Adds the next step.
    #[must_use]
    pub fn next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new("REQ-001", ProblemKind::Invalid, message)
    }

    /// The same answer for what does not exist and what the caller may not see.
    pub(crate) fn not_found(what: &str) -> Self {
        Self::new("REQ-008", ProblemKind::NotFound, format!("there is no {what} that you may see"))
    }

    pub(crate) fn no_resource(name: &str) -> Self {
        Self::new("RES-001", ProblemKind::NotFound, format!("there is no resource `{name}` that you may ask for"))
            .next("list what you may ask for with `resources`")
    }

    pub(crate) fn denied_by_policy(decision: &Decision) -> Self {
        let reasons: Vec<&str> = decision.reasons.iter().map(|r| r.text.as_str()).collect();
        Self::new("REQ-002", ProblemKind::Denied, "policy denies it")
            .why(if reasons.is_empty() { "no policy permits it".to_owned() } else { reasons.join("; ") })
            .next("ask for less, or see what would be allowed with `policy explain`")
    }

    /// Policy says no to this sign-in, and would not to another.
    pub(crate) fn other_sign_in(again: SignInAgain, asked: &Asked) -> Self {
        let again_anywhere = "sign in again, then ask again: in a browser in another tab, at a command line with `sign-in`";
        let (message, why, next) = match (again, asked.sign_in_age_seconds) {
            (SignInAgain::Passkey, _) => (
                "policy wants a sign-in with a passkey for this",
                format!("you signed in by {}", asked.sign_in),
                "sign in with your passkey, in a browser, and ask there: another tab will do",
            ),
            (SignInAgain::Newer, Asked::OLDEST_SIGN_IN_SECONDS..) => {
                ("policy wants a newer sign-in for this", "nobody says how old yours is".to_owned(), again_anywhere)
            }
            (SignInAgain::Newer, age) => {
                ("policy wants a newer sign-in for this", format!("yours is {} minutes old", age / 60), again_anywhere)
            }
        };
        Self::new("REQ-010", ProblemKind::Denied, message).why(why).next(next)
    }

    pub(crate) fn frozen(why: &str) -> Self {
        Self::new("CLOCK-001", ProblemKind::Unavailable, "the gateway is frozen")
            .why(why)
            .next("an administrator confirms the clock with `clock confirm`")
    }

    pub(crate) fn not_signed_in() -> Self {
        Self::new("SIGN-002", ProblemKind::NotSignedIn, "not signed in").next("sign in with `sign-in`")
    }

    /// A lifecycle rule as a caller sees it.
    pub(crate) fn refused(refused: &Refused, now: Timestamp) -> Self {
        let message = refused.to_string();
        match refused {
            Refused::Missing | Refused::Exists => Self::not_found("access request"),
            Refused::SelfApproval => Self::new("APPROVE-001", ProblemKind::Denied, message).next("ask somebody else to decide"),
            Refused::NotAPerson | Refused::Disabled | Refused::TooNew | Refused::NotEligible => {
                Self::new("APPROVE-002", ProblemKind::Denied, message).next("`show` names who may approve it")
            }
            Refused::AlreadyApproved => Self::new("APPROVE-003", ProblemKind::Conflict, message),
            Refused::DigestMismatch => {
                Self::new("REQ-007", ProblemKind::Conflict, message).next("look at it again with `show` and decide on what it says")
            }
            Refused::TooLate => Self::new("REQ-009", ProblemKind::Expired, format!("{message} (it is {now})")).next("ask again"),
            Refused::NotPending { .. } => Self::new("REQ-006", ProblemKind::Conflict, message),
            Refused::WrongState { .. } | Refused::TooEarly | Refused::NotLater => Self::new("GRANT-003", ProblemKind::Conflict, message),
            Refused::NotHolder => Self::new("GRANT-002", ProblemKind::Denied, message),
            Refused::DeniedByPolicy => Self::new("REQ-002", ProblemKind::Denied, message),
            Refused::Running => Self::new("RUN-003", ProblemKind::Conflict, message),
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        tracing::error!(error = %error, cause = ?std::error::Error::source(&error).map(ToString::to_string), "store");
        match error {
            StoreError::Conflict { .. } => {
                Self::new("STORE-002", ProblemKind::Conflict, "somebody else changed it at the same time").next("try again")
            }
            StoreError::Unavailable(_) | StoreError::Corrupt { .. } => {
                Self::new("STORE-001", ProblemKind::Unavailable, "it could not be recorded, so nothing was done")
                    .next("see the gateway's log; try again when the store has recovered")
            }
        }
    }
}

impl From<RecordingError> for Problem {
    fn from(error: RecordingError) -> Self {
        match error {
            RecordingError::Missing => Self::not_found("recording"),
            RecordingError::Unwritable(_) | RecordingError::Unreadable(_) => {
                tracing::error!(error = %error, "recording");
                Self::new("STORE-003", ProblemKind::Unavailable, error.to_string()).next("see the gateway's log")
            }
        }
    }
}

impl From<NoEntropy> for Problem {
    fn from(error: NoEntropy) -> Self {
        Self::new("STORE-001", ProblemKind::Unavailable, error.to_string())
    }
}

impl From<NotCanonical> for Problem {
    fn from(error: NotCanonical) -> Self {
        Self::invalid(error.to_string())
    }
}
