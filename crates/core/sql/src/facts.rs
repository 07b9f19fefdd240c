//! What is known about a statement text, from its parse alone.
//!
//! Facts are not an opinion and not a decision. They end in the operations a grant must hold for the statement to pass.

use safeconduct_model::{Operation, OperationSet};
use serde::Serialize;

/// Facts about one text, which may hold several statements.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Facts {
    /// One entry per statement, in order. Empty for an empty text (comments and blanks only) and for one that does not parse.
    pub statements: Vec<StatementFacts>,
    /// Union of what the statements need. An empty text needs `connect`; unparsable text needs `unknown`.
    pub operations: OperationSet,
    /// Why the text could not be understood, if it could not.
    pub unparsable: Option<String>,
}

impl Facts {
    /// True if these facts, made from a [`shape`](crate::shape()), hold for every text of that shape: nothing was left open that a
    /// constant could settle.
    #[must_use]
    pub fn hold_for_shape(&self) -> bool {
        self.unparsable.is_none()
            && !self.operations.contains(Operation::Unknown)
            && self.statements.iter().all(|statement| statement.kind == StatementKind::Plain)
    }
}

/// Facts about one statement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StatementFacts {
    /// Byte range of the statement in the text.
    pub start_bytes: usize,
    pub end_bytes: usize,
    /// Upper-case command name as people say it: `SELECT`, `CREATE TABLE`, `COPY FROM STDIN`…
    pub command: String,
    /// What a gateway must track about it.
    pub kind: StatementKind,
    pub operations: OperationSet,
    /// Permanent and temporary objects named (`schema.name` where written so, else `name`), each with how it is used. Sorted, deduplicated.
    pub objects: Vec<ObjectUse>,
    /// Functions called, as written (lower-cased unless quoted). Sorted, deduplicated.
    pub functions: Vec<String>,
    /// For UPDATE and DELETE (also inside CTEs): false if any of them lacks a WHERE clause. `None` when there is no such part.
    pub has_where: Option<bool>,
    /// Highest `$n` parameter number used, 0 if none.
    pub parameters: u32,
    /// Why `unknown` or a stronger operation was chosen, in words for people (`function `my_fn` is not known to be harmless`).
    pub why: Vec<String>,
}

/// One object and how a statement uses it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct ObjectUse {
    pub name: String,
    pub usage: Usage,
}

/// How an object is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Usage {
    Read,
    Write,
    Ddl,
}

/// What the gate tracks about a statement beyond the operations it needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum StatementKind {
    /// SELECT, INSERT, CREATE…: nothing to track.
    Plain,
    /// BEGIN, START TRANSACTION. `read_write`: true if READ WRITE is said at all, false for READ ONLY, `None` for the session's default.
    Begin {
        read_write: Option<bool>,
    },
    /// COMMIT, END. `chain`: AND CHAIN. What ends in PREPARED is `Plain` and needs `unknown`.
    Commit {
        chain: bool,
    },
    /// ROLLBACK, ABORT.
    Rollback {
        chain: bool,
    },
    Savepoint {
        name: String,
    },
    ReleaseSavepoint {
        name: String,
    },
    RollbackTo {
        name: String,
    },
    /// SET / SET LOCAL / RESET / SET TRANSACTION / SET SESSION CHARACTERISTICS; `value: None` means DEFAULT or RESET.
    /// Names are lower case. `all` is RESET ALL; `transaction`, `session_characteristics` and `transaction_snapshot` are SET TRANSACTION in its forms.
    Set {
        name: String,
        value: Option<String>,
        local: bool,
    },
    Show {
        name: String,
    },
    /// PREPARE name AS …: `inner` are the facts of what it names.
    Prepare {
        name: String,
        inner: Box<StatementFacts>,
    },
    /// EXECUTE name, also under EXPLAIN: the gate adds the facts of what the name means.
    Execute {
        name: String,
    },
    /// DEALLOCATE name; `None` means ALL.
    Deallocate {
        name: Option<String>,
    },
    /// DECLARE name CURSOR FOR …: operations already include the query's.
    DeclareCursor {
        name: String,
        inner: Box<StatementFacts>,
        hold: bool,
    },
    /// FETCH or MOVE from a cursor: the gate adds what the cursor's query needs.
    Fetch {
        name: String,
    },
    /// CLOSE cursor; `None` means ALL.
    CloseCursor {
        name: Option<String>,
    },
    /// DISCARD ALL / PLANS / SEQUENCES / TEMP.
    Discard {
        all: bool,
        plans: bool,
    },
    /// COPY … FROM STDIN; `binary`: its data is in the binary format.
    CopyFromStdin {
        #[serde(default)]
        binary: bool,
    },
    CopyToStdout,
    /// Creates or may create a temporary object.
    CreateTemp,
    /// Text that does not parse: a single entry is made for it when asked as an exact action.
    Unparsable,
}
