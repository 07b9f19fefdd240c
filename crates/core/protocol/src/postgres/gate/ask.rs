//! What the gate asks and what it gives: the questions put to a judge, the answers, and what an adapter is to do with them.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use safeconduct_model::{AccessRequestId, Audit, CopyData, GrantId, OperationSet, Parameter, Permit, SqlAction};
use safeconduct_sql::facts::Facts;

use super::refer::copies;
use crate::postgres::messages::Report;

/// Answers for the gate. All calls are synchronous: the gate never waits inside one.
pub trait Judge {
    /// Facts about a text. May cache.
    fn facts(&mut self, text: &str) -> Arc<Facts>;

    /// Decides one action.
    ///
    /// Unless [`Ask::can_hold`], no approval of an exact action may be claimed for it. A verdict other than a permit on an unsettled ask is
    /// not used: the gate waits for the server's outstanding answers and asks again.
    fn judge(&mut self, ask: &Ask) -> Verdict;

    /// True if live grants still cover what was done under these. A charge that claimed an approval is covered by having claimed it,
    /// unless its grant was revoked.
    fn still_covered(&mut self, charges: &[Charge]) -> bool;
}

/// The answer to an ask.
#[derive(Debug)]
pub enum Verdict {
    Permit(Permit),
    /// Nobody said yes, but it may be asked for.
    Hold,
    Refuse(Report),
}

/// One action, with everything that gives it its meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The exact text; for a bound statement, of the Parse it came from.
    pub text: Arc<str>,
    /// Facts of the text alone.
    pub facts: Arc<Facts>,
    /// What EXECUTE and FETCH in the text name.
    pub references: Vec<Reference>,
    /// What a grant must cover: of the text and of everything it refers to.
    pub operations: OperationSet,
    pub parameters: Vec<Parameter>,
    pub database: Arc<str>,
    /// Settings that change meaning and differ from what the gateway pins.
    pub settings: Arc<BTreeMap<String, String>>,
    pub in_transaction: bool,
    /// False while answers of the server are outstanding.
    pub settled: bool,
    /// What a COPY FROM STDIN copies. `None` while it has not come, and where it is never kept.
    pub copy_data: Option<CopyData>,
    /// Why the action can't be shown, held and approved exactly as it would run. `None`: it can.
    pub not_exact: Option<NotExact>,
}

impl Ask {
    /// True if the action may be held for approval, or may claim one.
    #[must_use]
    pub const fn can_hold(&self) -> bool {
        self.settled && self.not_exact.is_none()
    }

    /// The refusal with what would help, where something would: one kind of COPY can be approved.
    pub(super) fn with_way_out(&self, report: Report) -> Report {
        if self.not_exact != Some(NotExact::CopyFromStdin) {
            return report;
        }
        let way = "A COPY sent as a simple query of its own, as psql does, can be asked for together with its data.";
        let hint = report.hint.as_deref().map_or_else(|| way.to_owned(), |hint| format!("{hint}\n{way}"));
        report.hint(hint)
    }

    /// True if this is a COPY FROM STDIN whose data has not come: until then nobody is asked and no approval is claimed.
    #[must_use]
    pub fn wants_copy_data(&self) -> bool {
        self.copy_data.is_none() && copies(&self.facts)
    }

    /// The canonical action.
    #[must_use]
    pub fn action(&self) -> SqlAction {
        SqlAction {
            database: self.database.as_ref().to_owned(),
            text: self.text.as_ref().to_owned(),
            parameters: self.parameters.clone(),
            settings: BTreeMap::clone(&self.settings),
            copy_data: self.copy_data.clone(),
        }
    }
}

/// A prepared statement or cursor that a text names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    pub name: String,
    /// The text behind the name; `None` if nothing certain is known.
    pub text: Option<Arc<str>>,
    pub operations: OperationSet,
}

/// Why an action can't be approved as an exact one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotExact {
    #[error("the session has temporary objects, which can change what names mean")]
    TemporaryObjects,
    #[error("a setting under which texts mean something else was set inside a transaction, or it is not known whether it was set")]
    UncertainSetting,
    #[error("a parameter can't be shown as text")]
    UnreadableParameter,
    #[error("it runs a statement or cursor behind a name")]
    BehindName,
    #[error("it copies data from the client, and is not a simple query of its own")]
    CopyFromStdin,
    #[error("the meaning of the prepared statement is not certain")]
    Uncertain,
    #[error("it can't be understood")]
    Unparsable,
}

/// What the present transaction did under one grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charge {
    /// The latest statement that did so.
    pub statement: u64,
    pub grant: GrantId,
    pub operations: OperationSet,
    pub claimed: Option<AccessRequestId>,
}

/// What an adapter does next, in this order. A record precedes the bytes it speaks of.
#[derive(Debug)]
pub enum Output {
    ToServer(Bytes),
    ToClient(Bytes),
    Record(Record),
    /// The gate waits for [`super::Gate::resolve`].
    Hold(Box<Ask>),
    /// What was held is no longer wanted: the client left.
    Withdrawn,
    /// Nothing follows. Both connections are to be closed once what precedes has been sent.
    Close(CloseReason),
}

/// For the session's journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    Intent(Box<Intent>),
    Outcome {
        statement: u64,
        ended: Ended,
    },
    Refused {
        text: Arc<str>,
        parameters: Vec<Parameter>,
        operations: OperationSet,
        report: Report,
    },
    /// How the transaction ended in which every statement up to this one ran that was not settled before.
    Settled {
        through: u64,
        how: Settlement,
    },
    /// The same for these alone: what they did was undone before their transaction ended, or it can't be told. Only of claimed actions.
    SettledApart {
        statements: Vec<u64>,
        how: Settlement,
    },
}

/// A statement about to be forwarded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// Numbers the statements of a session from 1.
    pub statement: u64,
    pub text: Arc<str>,
    pub references: Vec<Reference>,
    pub parameters: Vec<Parameter>,
    pub operations: OperationSet,
    pub grant: GrantId,
    pub claimed: Option<AccessRequestId>,
    /// True if the record must be on disk before what follows is sent.
    pub sync_first: bool,
    pub audit: Audit,
}

/// How a statement ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The last command tag, and rows counted over all tags.
    Completed {
        tag: String,
        rows: Option<u64>,
    },
    Failed {
        sqlstate: String,
        message: String,
    },
    /// Rows were fetched, then the rest was given up.
    Stopped {
        rows: u64,
    },
    /// The server never began.
    NotRun,
    /// The connection ended before the server answered.
    Unknown,
}

/// How a transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    Committed,
    RolledBack,
    /// Partly, or not known: ask the database.
    Unknown,
}

/// What was decided about a held action.
#[derive(Debug)]
pub enum Resolution {
    Approved(Permit),
    /// Denied, withdrawn, timed out or cancelled: the client gets this error.
    Refused(Report),
}

/// Why the connections end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CloseReason {
    #[error("the client ended the session")]
    ClientTerminated,
    #[error("the client broke the protocol: {0}")]
    ClientProtocol(String),
    #[error("the server answered unexpectedly: {0}")]
    ServerProtocol(String),
    #[error("the server ended the session ({sqlstate}: {message})")]
    ServerEnded { sqlstate: String, message: String },
    #[error("a grant that the open transaction used has ended")]
    Uncovered,
    #[error("{0}")]
    Cut(String),
}

/// What the session is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// The server has nothing to do.
    Idle,
    /// Answers of the server are outstanding.
    Busy,
    /// The data of a COPY comes in, to be approved. [`super::Gate::resolve`] can refuse it already.
    Spooling,
    /// An action waits for people.
    Holding,
}
