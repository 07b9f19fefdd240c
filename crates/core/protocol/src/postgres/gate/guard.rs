//! The second lock's part of the gate: transactions that are read only at the server, and nothing beside a claimed action while its rights are
//! there.
//!
//! Where the session has a login role of its own, the gateway switches the session's `default_transaction_read_only` with messages of its
//! own, between transactions only, and keeps their answers. A statement that was held runs alone; until its rights are taken back nothing
//! of the client's goes on.

use bytes::Bytes;
use safeconduct_model::{Operation, OperationSet};
use safeconduct_sql::facts::{StatementFacts, StatementKind};

use super::{
    Copy, Gate,
    ask::{Ask, Output},
    client::Step,
    decide::Refusal,
    server::Step as Answer,
    statements::Expect,
};
use crate::postgres::messages::{self, BackendMessage, Report, TransactionStatus};

/// How often the setting is tried again if somebody's cancel hit it.
const TRIES: u8 = 5;

#[derive(Debug)]
pub(super) struct Guard {
    /// What the session's transactions are at the server unless they say otherwise.
    read_only: bool,
    /// What the live grants give.
    wanted: bool,
    /// The open transaction is read only.
    transaction_read_only: bool,
    /// What is held needs more than reading.
    held_changes: bool,
    raised: Option<Raised>,
    failures: u8,
}

/// The rights of a claimed action are there.
#[derive(Clone, Copy, Debug)]
struct Raised {
    /// The action's statement, once it was forwarded.
    statement: Option<u64>,
    /// Its transaction may write.
    lifted: bool,
}

/// The gateway's own setting, on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Own {
    read_only: bool,
    failed: bool,
}

impl Guard {
    pub(super) const fn new(wanted: bool) -> Self {
        Self { read_only: true, wanted, transaction_read_only: true, held_changes: false, raised: None, failures: 0 }
    }

    /// What the setting is to be.
    fn target(&self) -> bool {
        self.wanted && !self.raised.is_some_and(|raised| raised.lifted)
    }
}

impl Gate {
    /// Transactions are to be read only, or need not be, from the next one on. Nothing for a session without a role of its own.
    pub fn want_read_only(&mut self, read_only: bool) {
        if let Some(guard) = &mut self.guard {
            guard.wanted = read_only;
        }
    }

    /// True once a claimed action is over: its rights are to be taken back, and then [`Gate::lowered`] called.
    #[must_use]
    pub fn is_to_be_lowered(&self) -> bool {
        let Some(raised) = self.guard.as_ref().and_then(|guard| guard.raised) else { return false };
        let runs = raised.statement.is_some_and(|statement| self.open.contains_key(&statement));
        !runs && self.outstanding.is_empty() && self.holding.is_none()
    }

    /// The rights of a claimed action are gone.
    pub fn lowered(&mut self) {
        if let Some(guard) = &mut self.guard {
            guard.raised = None;
        }
    }

    /// True while the client must wait: for the gateway's own setting, or for rights to be taken back.
    pub(super) fn own_goes_first(&mut self, out: &mut Vec<Output>) -> bool {
        let Some(guard) = &self.guard else { return false };
        let (read_only, is) = (guard.target(), guard.read_only);
        if self.is_to_be_lowered() || matches!(self.outstanding.back(), Some(Expect::Own(_))) {
            return true;
        }
        if read_only == is || !self.is_quiet() {
            return false;
        }
        out.push(Output::ToServer(setting(read_only)));
        self.push(Expect::Own(Own { read_only, failed: false }));
        self.prepared.end_segment();
        self.portals.end_segment();
        true
    }

    /// True if a Sync of the gateway's own changes nothing for the client: no transaction, nothing bound, nothing under way.
    fn is_quiet(&self) -> bool {
        self.status == TransactionStatus::Idle
            && self.outstanding.is_empty()
            && !self.segment_ran
            && !self.skipping
            && self.copy == Copy::No
            && self.spool.is_none()
            && self.portals.weigh(|portal| usize::from(!portal.hold)) == 0
    }

    /// Why this can't be held although it might be approved: its transaction could not write.
    pub(super) fn can_never_write(&mut self, ask: &Ask) -> Option<Report> {
        let (quiet, in_transaction) = (self.is_quiet(), self.status != TransactionStatus::Idle);
        let guard = self.guard.as_mut()?;
        guard.held_changes = changes(&ask.operations);
        if !guard.held_changes || !guard.wanted {
            return None;
        }
        let report = |message| Some(Report::new("25006", message));
        if in_transaction && guard.transaction_read_only {
            let report = report("this needs approval, and can't be held for it in a transaction that is read only")?;
            return Some(
                report
                    .detail("While no grant gives more than read, transactions begin read only, and that can't be changed within one.")
                    .hint("Run it outside of a transaction (autocommit), or ask for a grant first and begin again."),
            );
        }
        if !in_transaction && !quiet {
            let report = report("this needs approval, and can't be held for it in the middle of a pipeline")?;
            return Some(report.hint("Send a Sync before it, so that nothing else is in its transaction."));
        }
        None
    }

    /// The held action was approved, and its rights are there.
    pub(super) fn raise(&mut self) {
        let idle = self.status == TransactionStatus::Idle;
        if let Some(guard) = &mut self.guard {
            guard.raised = Some(Raised { statement: None, lifted: idle && guard.held_changes });
        }
    }

    /// The claimed action is about to be forwarded.
    pub(super) fn raised_for(&mut self, statement: u64) {
        if let Some(raised) = self.guard.as_mut().and_then(|guard| guard.raised.as_mut()) {
            raised.statement = Some(statement);
        }
    }

    /// What becomes of a message that would run something beside a claimed action: it waits, or is refused where it would wait for ever.
    pub(super) fn beside_claimed(&mut self, statement: Option<u64>, simple: bool, out: &mut Vec<Output>) -> Option<Step> {
        let raised = self.guard.as_ref().and_then(|guard| guard.raised).and_then(|raised| raised.statement)?;
        if statement == Some(raised) || !self.open.contains_key(&raised) {
            return None;
        }
        if !self.outstanding.is_empty() {
            return Some(Step::Wait);
        }
        let report = Report::new("42501", "an approved statement runs alone: nothing else passes until it is over");
        Some(self.refuse(Refusal::bare(report, simple), out))
    }

    /// Why this does not pass in a transaction that may still write although no grant gives more than reading.
    pub(super) fn may_still_write(&self, operations: &OperationSet) -> Option<Report> {
        let guard = self.guard.as_ref()?;
        let passes = guard.read_only || !guard.wanted || guard.raised.is_some() || operations.iter().all(|op| op == Operation::Connect);
        (!passes).then(|| {
            Report::new("42501", "the transaction may still write, and no grant gives more than read any more")
                .hint("End it: COMMIT, ROLLBACK, or a Sync in a pipeline.")
        })
    }

    /// Statements are about to run: what they say about their transaction.
    pub(super) fn follow_transaction(&mut self, statements: &[StatementFacts]) {
        let Some(guard) = &mut self.guard else { return };
        for statement in statements {
            match &statement.kind {
                StatementKind::Begin { read_write } => guard.transaction_read_only = read_write.map_or(guard.read_only, |write| !write),
                StatementKind::Set { name, value: Some(value), .. } if name == "transaction" => {
                    if value.contains("read write") {
                        guard.transaction_read_only = false;
                    } else if value.contains("read only") {
                        guard.transaction_read_only = true;
                    }
                }
                // Back to how the session began. If that fails it is said once more.
                StatementKind::Set { name, value: None, .. } if matches!(name.as_str(), "all" | "default_transaction_read_only") => {
                    guard.read_only = true;
                }
                StatementKind::Discard { all: true, .. } => guard.read_only = true,
                StatementKind::Set { name, value: Some(value), .. } if name == "transaction_read_only" => {
                    guard.transaction_read_only = matches!(value.to_ascii_lowercase().as_str(), "on" | "true" | "yes" | "1");
                }
                _ => {}
            }
        }
    }

    /// An answer to the gateway's own setting: the client hears nothing of it. `None` if it is about something else.
    pub(super) fn own_answer(&mut self, message: &BackendMessage<'_>) -> Option<Answer> {
        let Some(Expect::Own(own)) = self.outstanding.front_mut() else { return None };
        match message {
            BackendMessage::ParseComplete
            | BackendMessage::BindComplete
            | BackendMessage::CloseComplete
            | BackendMessage::CommandComplete { .. } => Some(Answer::Drop),
            BackendMessage::ParameterStatus { name, .. } if name.eq_ignore_ascii_case("default_transaction_read_only") => {
                Some(Answer::Drop)
            }
            BackendMessage::ErrorResponse(error) if !error.is_fatal() => {
                own.failed = true;
                Some(Answer::Drop)
            }
            BackendMessage::ReadyForQuery(TransactionStatus::Idle) => {
                let own = *own;
                self.pop();
                let guard = self.guard.as_mut()?;
                if own.failed {
                    guard.failures += 1;
                    if guard.failures >= TRIES {
                        return Some(Answer::Broken("the gateway's own setting was refused"));
                    }
                } else {
                    guard.read_only = own.read_only;
                    guard.failures = 0;
                }
                Some(Answer::Drop)
            }
            BackendMessage::ReadyForQuery(_) => Some(Answer::Broken("the gateway's own setting was answered out of order")),
            _ => None,
        }
    }
}

/// True if it needs more than reading.
fn changes(operations: &OperationSet) -> bool {
    operations.iter().any(|operation| !matches!(operation, Operation::Connect | Operation::Read))
}

/// In the extended protocol, under a name of its own: a simple query would drop the client's unnamed statement.
fn setting(read_only: bool) -> Bytes {
    messages::run_once(
        "safeconduct own",
        if read_only { "SET default_transaction_read_only TO on" } else { "SET default_transaction_read_only TO off" },
    )
}
