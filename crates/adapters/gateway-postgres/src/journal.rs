//! What the gate says for the record, as the session's recording keeps it, and what became of claimed actions.

use std::collections::HashMap;

use safeconduct_app::{
    Write,
    ports::{Named, What},
};
use safeconduct_lifecycle::{ExactOutcome, TransactionEnd};
use safeconduct_model::AccessRequestId;
use safeconduct_protocol::postgres::gate::{Ended, Record, Reference, Settlement};
use tokio::time::Instant;

/// Statements that run, with when they began; claimed actions until their transaction ends.
#[derive(Default)]
pub(crate) struct Journal {
    began: HashMap<u64, Began>,
    claimed: Vec<Claimed>,
}

/// When a statement began, and whether its end is written at once.
#[derive(Clone, Copy)]
struct Began {
    at: Instant,
    end: Write,
}

struct Claimed {
    statement: u64,
    request: AccessRequestId,
    ended: Option<Ended>,
}

/// Records to be written before anything that follows them is sent.
pub(crate) struct Batch {
    pub what: Vec<What>,
    pub write: Write,
    /// Claimed actions that have an outcome.
    pub settled: Vec<(AccessRequestId, ExactOutcome)>,
}

impl Default for Batch {
    fn default() -> Self {
        Self { what: Vec::new(), write: Write::Later, settled: Vec::new() }
    }
}

impl Journal {
    /// Adds what the gate recorded.
    pub(crate) fn add(&mut self, record: Record, batch: &mut Batch) {
        match record {
            Record::Intent(intent) => {
                let intent = *intent;
                let (before, end) = if intent.sync_first { (Write::Synced, Write::Now) } else { (Write::Now, Write::Later) };
                batch.write = batch.write.max(before);
                self.began.insert(intent.statement, Began { at: Instant::now(), end });
                if let Some(request) = &intent.claimed {
                    self.claimed.push(Claimed { statement: intent.statement, request: request.clone(), ended: None });
                }
                batch.what.push(What::Intent {
                    statement: intent.statement,
                    text: intent.text.as_ref().to_owned(),
                    names: intent.references.into_iter().map(named).collect(),
                    parameters: intent.parameters,
                    operations: intent.operations.to_string(),
                    grant: intent.grant,
                    claimed: intent.claimed,
                });
            }
            Record::Outcome { statement, ended } => {
                let began = self.began.remove(&statement);
                batch.write = batch.write.max(began.map_or(Write::Now, |began| began.end));
                let took = began.map(|began| began.at.elapsed()).unwrap_or_default();
                let duration_micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
                batch.what.push(outcome(statement, &ended, duration_micros));
                if let Some(claimed) = self.claimed.iter_mut().find(|claimed| claimed.statement == statement) {
                    claimed.ended = Some(ended);
                }
            }
            Record::Refused { text, parameters, operations, report } => {
                let why = report.detail.map_or_else(|| report.message.clone(), |detail| format!("{}: {detail}", report.message));
                let (text, operations) = (text.as_ref().to_owned(), operations.to_string());
                batch.write = batch.write.max(Write::Now);
                batch.what.push(What::Refused { text, parameters, operations, why });
            }
            Record::Settled { through, how } => {
                let (done, open) = std::mem::take(&mut self.claimed).into_iter().partition(|claimed| claimed.statement <= through);
                self.claimed = open;
                settled(done, how, batch);
            }
            Record::SettledApart { statements, how } => {
                let (done, open) =
                    std::mem::take(&mut self.claimed).into_iter().partition(|claimed| statements.contains(&claimed.statement));
                self.claimed = open;
                settled(done, how, batch);
            }
        }
    }
}

fn settled(done: Vec<Claimed>, how: Settlement, batch: &mut Batch) {
    batch.settled.extend(done.into_iter().map(|claimed| (claimed.request, settle(claimed.ended, how))));
}

fn named(reference: Reference) -> Named {
    Named { name: reference.name, text: reference.text.map(|text| text.as_ref().to_owned()) }
}

fn outcome(statement: u64, ended: &Ended, duration_micros: u64) -> What {
    let (mut command, mut rows, mut sqlstate, mut message) = (None, None, None, None);
    match ended {
        Ended::Completed { tag, rows: counted } => (command, rows) = (Some(tag.clone()), *counted),
        Ended::Failed { sqlstate: code, message: text } => (sqlstate, message) = (Some(code.clone()), Some(text.clone())),
        Ended::Stopped { rows: sent } => (rows, message) = (Some(*sent), Some("the rest was not fetched".to_owned())),
        Ended::NotRun => message = Some("never run".to_owned()),
        Ended::Unknown => message = Some("outcome unknown".to_owned()),
    }
    What::Outcome { statement, command, rows, sqlstate, message, duration_micros }
}

/// The outcome of a claimed action: of the statement, and of the transaction it ran in.
fn settle(ended: Option<Ended>, how: Settlement) -> ExactOutcome {
    let unknown = |why: &str| ExactOutcome::Unknown { why: why.to_owned() };
    let executed = |command: String, rows| match how {
        Settlement::Committed => ExactOutcome::Executed { command, rows, transaction: TransactionEnd::Committed },
        Settlement::RolledBack => ExactOutcome::Executed { command, rows, transaction: TransactionEnd::RolledBack },
        Settlement::Unknown => ExactOutcome::Unknown { why: "it ran, but whether its transaction was committed is not known".to_owned() },
    };
    match ended {
        Some(Ended::Completed { tag, rows }) => executed(tag, rows),
        Some(Ended::Stopped { rows }) => executed(String::new(), Some(rows)),
        Some(Ended::Failed { sqlstate, message }) => ExactOutcome::Failed { sqlstate, message },
        Some(Ended::NotRun) => ExactOutcome::RefusedNotRun { why: "the server never began it".to_owned() },
        Some(Ended::Unknown) | None => unknown("the connection ended before the server answered"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_is_what_the_server_said_or_unknown() {
        let completed = || Some(Ended::Completed { tag: "UPDATE 1".into(), rows: Some(1) });
        assert!(matches!(
            settle(completed(), Settlement::Committed),
            ExactOutcome::Executed { rows: Some(1), transaction: TransactionEnd::Committed, .. }
        ));
        assert!(matches!(
            settle(completed(), Settlement::RolledBack),
            ExactOutcome::Executed { transaction: TransactionEnd::RolledBack, .. }
        ));
        assert!(matches!(settle(completed(), Settlement::Unknown), ExactOutcome::Unknown { .. }));
        assert!(matches!(settle(Some(Ended::NotRun), Settlement::RolledBack), ExactOutcome::RefusedNotRun { .. }));
        assert!(matches!(settle(None, Settlement::Committed), ExactOutcome::Unknown { .. }));
        let failed = Ended::Failed { sqlstate: "23505".into(), message: "duplicate".into() };
        assert!(matches!(settle(Some(failed), Settlement::RolledBack), ExactOutcome::Failed { .. }));
    }
}
