//! What the gate remembers about statements: prepared texts, portals, and messages that await their answers.

use std::sync::{Arc, OnceLock};

use safeconduct_model::OperationSet;
use safeconduct_sql::facts::{Facts, StatementFacts, StatementKind};

use super::{ask::Charge, call::ExpectCall, claims::Savepoint, guard::Own, spool::Supply};
use crate::postgres::messages::{Report, Target};

/// A prepared statement, by protocol or by SQL.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub text: Arc<str>,
    pub facts: Arc<Facts>,
    pub type_oids: Vec<u32>,
    /// Types as the server describes them.
    pub described: OnceLock<Vec<u32>>,
    /// Made by SQL: the text is that of the PREPARE or DECLARE around it.
    pub by_sql: bool,
    /// The server may have read it otherwise.
    pub doubtful: bool,
}

impl Prepared {
    pub(crate) fn new(text: Arc<str>, facts: Arc<Facts>, type_oids: Vec<u32>) -> Self {
        Self { text, facts, type_oids, described: OnceLock::new(), by_sql: false, doubtful: false }
    }

    /// The statement that SQL `PREPARE` or `DECLARE` names.
    pub(crate) fn inner(text: &str, statement: &StatementFacts, inner: &StatementFacts) -> Self {
        let shown = text.get(statement.start_bytes..statement.end_bytes).unwrap_or(text);
        let facts = Facts { operations: inner.operations.clone(), statements: vec![inner.clone()], unparsable: None };
        Self { by_sql: true, ..Self::new(shown.into(), Arc::new(facts), Vec::new()) }
    }

    /// The declared type of a parameter; where none was declared, the one described.
    pub(crate) fn type_oid(&self, place: usize) -> u32 {
        let declared = self.type_oids.get(place).copied().unwrap_or(0);
        if declared != 0 { declared } else { self.described.get().and_then(|types| types.get(place)).copied().unwrap_or(0) }
    }
}

/// A bound statement or a cursor.
#[derive(Debug)]
pub(crate) struct Portal {
    /// The statement whose permit made it.
    pub statement: u64,
    pub charge: Charge,
    pub prepared: Arc<Prepared>,
    /// What it needs, with everything it refers to.
    pub operations: OperationSet,
    /// What it referred to when it was bound.
    pub targets: Vec<Named>,
    /// Made by DECLARE.
    pub cursor: bool,
    /// Survives its transaction.
    pub hold: bool,
}

/// What a name in a text meant.
#[derive(Clone, Debug)]
pub(crate) enum Named {
    Prepared(Arc<Prepared>),
    Portal(Arc<Portal>),
    Nothing,
}

impl Named {
    pub(crate) fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Prepared(a), Self::Prepared(b)) => Arc::ptr_eq(a, b),
            (Self::Portal(a), Self::Portal(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }
}

/// How far a statement is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Progress {
    pub ran: bool,
    pub suspended: bool,
    pub rows: u64,
}

/// What a statement does to names when it completes.
#[derive(Clone, Debug)]
pub(crate) enum Effect {
    Prepare(Box<[u8]>, Arc<Prepared>),
    Deallocate(Box<[u8]>),
    DeallocateAll,
    Declare(Box<[u8]>, Arc<Portal>),
    CloseCursor(Box<[u8]>),
    CloseAllCursors,
    DiscardAll,
    Savepoint(Savepoint),
    /// COMMIT or ROLLBACK (not to a savepoint).
    EndTransaction {
        commit: bool,
    },
}

impl Effect {
    pub(crate) const fn of_transaction(kind: &StatementKind) -> Option<Self> {
        match kind {
            StatementKind::Commit { .. } => Some(Self::EndTransaction { commit: true }),
            StatementKind::Rollback { .. } => Some(Self::EndTransaction { commit: false }),
            _ => None,
        }
    }
}

/// A forwarded message and what is known once it is answered.
#[derive(Debug)]
pub(crate) enum Expect {
    Parse {
        name: Box<[u8]>,
        prepared: Arc<Prepared>,
        order: u64,
    },
    Bind {
        name: Box<[u8]>,
        portal: Arc<Portal>,
        order: u64,
    },
    Describe {
        statement: Option<Arc<Prepared>>,
    },
    Execute {
        portal: Arc<Portal>,
        effects: Vec<(usize, Effect)>,
        order: u64,
    },
    Close {
        target: Target,
        name: Box<[u8]>,
    },
    Sync {
        through: u64,
    },
    Query(Box<ExpectQuery>),
    Call(Box<ExpectCall>),
    /// The gateway's own setting.
    Own(Own),
    /// Stands where a refused message stood. `simple`: a Query, which ends with ReadyForQuery.
    Substitute {
        report: Report,
        simple: bool,
        answered: bool,
        through: u64,
    },
}

/// A forwarded Query.
#[derive(Debug)]
pub(crate) struct ExpectQuery {
    pub statement: u64,
    /// How many statements; `None` if the text was not understood.
    pub count: Option<usize>,
    /// Statements answered.
    pub done: usize,
    pub tag: String,
    pub rows: Option<u64>,
    pub failed: Option<(String, String)>,
    pub effects: Vec<(usize, Effect)>,
    pub order: u64,
    pub ends_transaction: bool,
    /// It was not understood, and ended a transaction or went back to a savepoint.
    pub ends_unclear: bool,
    pub prepared_transaction: bool,
    pub supply: Supply,
}

impl Expect {
    /// The statement whose outcome is lost if the connection is.
    pub(crate) fn runs(&self) -> Option<u64> {
        match self {
            Self::Execute { portal, .. } => Some(portal.statement),
            Self::Query(query) => Some(query.statement),
            Self::Call(call) => Some(call.statement),
            _ => None,
        }
    }

    /// Roughly the memory it keeps.
    pub(crate) fn bytes(&self) -> usize {
        128 + match self {
            Self::Parse { prepared, .. } => prepared.text.len(),
            Self::Bind { portal, .. } => portal.prepared.text.len(),
            Self::Execute { effects, .. } => effects.len() * 128,
            Self::Query(query) => query.effects.len() * 128,
            _ => 0,
        }
    }
}
