//! Access requests on the wire: the asking, and everything that is known about one. Approvals name the digest they are for.

use std::collections::BTreeSet;

use safeconduct_app::{AskedFor, NewAccessRequest};
use safeconduct_model as model;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{LedgerLine, Unfit, parse, words};

/// Asks for a grant.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Ask {
    pub resource: String,
    pub what: What,
    /// Why, in the requester's words.
    pub reason: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
    /// How long the grant lasts once it starts: `30m`, `1h30m`, at most `7d`.
    #[schema(example = "30m")]
    pub duration: String,
    /// Earliest start, RFC 3339; when it is approved if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts_at: Option<String>,
}

/// What is asked for.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum What {
    /// A set of operations for a duration, optionally narrowed.
    Window {
        operations: BTreeSet<String>,
        #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
        databases: BTreeSet<String>,
        #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
        schemas: BTreeSet<String>,
        #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
        tables: BTreeSet<String>,
    },
    /// One SQL text, run once.
    Sql {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        database: Option<String>,
        text: String,
    },
}

impl TryFrom<Ask> for NewAccessRequest {
    type Error = Unfit;
    fn try_from(ask: Ask) -> Result<Self, Unfit> {
        Ok(Self {
            resource: parse("resource", &ask.resource)?,
            what: ask.what.try_into()?,
            reason: words("reason", &ask.reason)?,
            ticket: ask.ticket.as_deref().map(|ticket| words("ticket", ticket)).transpose()?,
            duration: parse("duration", &ask.duration)?,
            starts_at: ask.starts_at.as_deref().map(|at| parse("starts_at", at)).transpose()?,
        })
    }
}

impl TryFrom<What> for AskedFor {
    type Error = Unfit;
    fn try_from(what: What) -> Result<Self, Unfit> {
        match what {
            What::Window { operations, databases, schemas, tables } => Ok(Self::Window {
                operations: operations.iter().map(|name| parse("what.operations", name)).collect::<Result<_, _>>()?,
                narrow: model::Narrowing { databases, schemas, tables },
            }),
            What::Sql { database, text } => Ok(Self::ExactSql { database, text }),
        }
    }
}

/// Approves what has exactly this digest.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Approve {
    /// Digest of the envelope that was shown: `sha256:` and 64 hexadecimal digits.
    pub digest: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// The approver's signature. Where policy asks for a level above `recorded` it is needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed: Option<Signed>,
}

/// A statement and the signature under it: docs/specs/evidence.md. Kept as they came.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Signed {
    /// Canonical JSON; its comment is the one of the call.
    pub statement: String,
    /// SSHSIG, armored as `ssh-keygen -Y sign` writes it.
    pub signature: String,
}

/// Denies.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Deny {
    pub comment: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed: Option<Signed>,
}

/// Ends something, with the reason for it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct End {
    pub reason: String,
}

/// Asks that a grant last longer.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Extend {
    /// How much longer: `30m`.
    pub by: String,
    pub reason: String,
}

/// An access request and the grant it leads to.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct AccessRequest {
    pub id: String,
    pub grant: String,
    /// `pending`, `refused`, `denied`, `withdrawn`, `lapsed`, `scheduled`, `ready`, `active`, `claimed`, `settled`, `released`,
    /// `revoked`, `expired` or `applied`.
    pub state: String,
    /// What that state knows, for people.
    pub state_text: String,
    /// True once sessions are cut and credentials retired.
    pub ended: bool,
    /// Digest of the envelope: what an approval must name.
    pub digest: String,
    /// The envelope itself. Its canonical JSON (RFC 8785) has the digest; clients check that it does.
    #[schema(value_type = Object)]
    pub envelope: serde_json::Value,
    pub requester: String,
    pub resource: String,
    pub exact: bool,
    pub operations: Vec<String>,
    pub reason: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
    pub duration: String,
    pub asked_at: String,
    /// When the present state can't go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<String>,
    pub decision: Decision,
    /// What the gateway derived from the action. `None` if there is nothing to derive it from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facts: Option<Facts>,
    /// Who must approve, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quorum: Option<String>,
    /// How many more people that takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quorum_missing: Option<u32>,
    pub approvals: Vec<Approval>,
    /// What an approval must be proved by: `recorded`, `signed` or `passkey`.
    #[serde(default)]
    pub level: String,
    /// People who may approve.
    pub eligible: Vec<String>,
    /// True if the caller is one of them.
    pub may_approve: bool,
    /// True if the caller may end the grant, which is live.
    #[serde(default)]
    pub may_revoke: bool,
    /// True if the server holds what is granted too, with rights of its own for each session; false if only the gateway does.
    #[serde(default)]
    pub second_lock: bool,
    /// How an exact action ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    pub history: Vec<LedgerLine>,
    /// True if the same was asked before and is still open: this is the earlier one.
    pub merged: bool,
}

impl AccessRequest {
    /// True if nothing can happen to it any more but the retiring of what it gave.
    #[must_use]
    pub fn is_final(&self) -> bool {
        !matches!(self.state.as_str(), "pending" | "scheduled" | "ready" | "active" | "claimed")
    }
}

/// Policy's answer.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Decision {
    /// `allow`, `deny` or `need_approval`.
    pub outcome: String,
    pub reasons: Vec<Reason>,
    /// Longest duration that may be asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_duration: Option<String>,
    /// What approvals must be proved by: `recorded`, `signed` or `passkey`.
    #[serde(default)]
    pub level: String,
    /// Hash of the policy that answered.
    pub policy: String,
}

/// One reason of a decision.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Reason {
    pub policy_id: String,
    /// `permit`, `forbid`, `none`, `error` or `rule`.
    pub effect: String,
    pub text: String,
}

/// What is known about a statement, derived from its parse.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Facts {
    pub summary: String,
    pub operations: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unparsable: Option<String>,
    pub statements: Vec<Statement>,
}

/// What is known about one statement of a text.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Statement {
    pub command: String,
    pub line: String,
    pub operations: Vec<String>,
    /// `orders (write)`.
    pub objects: Vec<String>,
    pub functions: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub has_where: Option<bool>,
    pub why: Vec<String>,
}

/// One person's approval.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Approval {
    pub approver: String,
    pub groups: Vec<String>,
    pub at: String,
    pub digest: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Its giver's signature, if there is one: anybody can check it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed: Option<Signed>,
    /// The key of that signature, as `ssh-keygen -l` prints it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// `sha256:…` of the roster that lists this key as theirs, if one was in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roster: Option<String>,
}

/// How an exact action ended. Never a guess.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    Executed {
        command: String,
        rows: Option<u64>,
        /// `committed`, `rolled_back` or `open`.
        transaction: String,
    },
    Failed {
        sqlstate: String,
        message: String,
    },
    RefusedNotRun {
        why: String,
    },
    Unknown {
        why: String,
    },
}

/// What policy would say; nothing is stored.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PreviewAnswer {
    pub decision: Decision,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quorum: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facts: Option<Facts>,
    pub eligible: Vec<String>,
    /// If it is denied for the caller's sign-in alone, what another has to be: `newer`, or by `passkey`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sign_in_again: Option<String>,
}

/// One line of the answer to an execution (`application/x-ndjson`): parts in order, then one `outcome` or one `problem`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(tag = "part", rename_all = "snake_case")]
pub enum ResultLine {
    Columns {
        names: Vec<String>,
    },
    Row {
        values: Vec<Option<String>>,
    },
    Notice {
        severity: String,
        message: String,
    },
    Complete {
        command: String,
        rows: Option<u64>,
    },
    Error {
        sqlstate: String,
        message: String,
    },
    /// Last line: how it ended.
    Outcome {
        result: Outcome,
    },
    /// Last line: it was not run, or its outcome could not be recorded.
    Problem {
        problem: super::Problem,
    },
}
