//! Decisions: policy's answers, always with reasons and what would help.

use serde::{Deserialize, Serialize};

use crate::{Digest, Quorum, Ttl};

/// The answer to an evaluation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    pub outcome: Outcome,
    pub reasons: Vec<Reason>,
    pub obligations: Obligations,
    /// Hash of the policy that answered.
    pub policy: Digest,
}

/// Allow, deny or ask people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    Allow,
    Deny,
    NeedApproval { quorum: Quorum },
}

/// One reason, traceable to the policy text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// The policy's `@id`, or `built-in` rules by their name; empty if no policy matched.
    pub policy_id: String,
    /// `permit`, `forbid`, `none` (nothing matched), `error` (a policy failed: denied), `rule` (a rule no policy can lift).
    pub effect: String,
    /// For people: one sentence.
    pub text: String,
}

/// What enforcement must do; the strictest of all that determined the decision.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Obligations {
    /// Longest duration a grant may be asked for.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub max_duration: Option<Ttl>,
    #[serde(default)]
    pub record: Record,
    #[serde(default)]
    pub audit: Audit,
    #[serde(default, skip_serializing_if = "Level::is_recorded")]
    pub level: Level,
}

/// How much of a session is recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Record {
    /// Statements, parameters, timings, row counts, outcomes.
    #[default]
    Statements,
    /// The same; named by `@record("full")`.
    Full,
}

/// When the intent of a statement must be on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Audit {
    /// Reads leave the process before they are forwarded; changes are on disk first.
    #[default]
    Journaled,
    /// Everything is on disk first.
    Strict,
}

/// What an approval must be proved by to count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// The gateway's record that its giver was signed in.
    #[default]
    Recorded,
    /// A signature by a key of its giver.
    Signed,
    /// A signature by an authenticator that saw its user and checked who it is.
    Passkey,
}

impl Level {
    /// The word used in policy, CLI, API and page.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Recorded => "recorded",
            Self::Signed => "signed",
            Self::Passkey => "passkey",
        }
    }

    /// True if nothing but the record is asked for.
    #[must_use]
    pub const fn is_recorded(&self) -> bool {
        matches!(self, Self::Recorded)
    }
}

impl Obligations {
    /// Both together: the strictest wins.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        let max_duration = match (self.max_duration, other.max_duration) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        Self { max_duration, record: self.record.max(other.record), audit: self.audit.max(other.audit), level: self.level.max(other.level) }
    }
}
