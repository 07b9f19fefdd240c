//! From a question to what becomes of it: the judge is asked, and the answer becomes a permit that is spent, a hold, or a refusal.

use std::sync::Arc;

use safeconduct_model::{Operation, OperationSet, Parameter, Permit};
use safeconduct_sql::facts::{Facts, StatementFacts, StatementKind};

use super::{
    Gate,
    ask::{Ask, Charge, Intent, Judge, NotExact, Output, Record, Resolution, Verdict},
    client::Step,
    refer::{Referred, copies},
    statements::{Expect, Progress},
};
use crate::postgres::{
    messages::{self, Report, TransactionStatus},
    parameter,
};

/// A text the server's parser refuses in any state, and the name under which it is refused in the extended protocol.
const REFUSED_TEXT: &str = "safeconduct: refused";
const REFUSED_NAME: &str = "safeconduct refused";

/// A refusal on its way to becoming a step.
pub(super) struct Refusal {
    report: Report,
    simple: bool,
    text: Arc<str>,
    parameters: Vec<Parameter>,
    operations: OperationSet,
}

impl Gate {
    /// A permit; or the refusal; or nothing, which asks for a hold.
    pub(super) fn decide(&self, ask: &Ask, given: Option<Resolution>, judge: &mut dyn Judge) -> Result<Permit, Option<Report>> {
        let permit = match given {
            Some(Resolution::Approved(permit)) => permit,
            Some(Resolution::Refused(report)) => return Err(Some(report)),
            None => match judge.judge(ask) {
                Verdict::Permit(permit) => permit,
                Verdict::Refuse(report) => return Err(Some(ask.with_way_out(report))),
                Verdict::Hold => return Err(None),
            },
        };
        if permit.session() != &self.config.session || (permit.claimed().is_some() && (!ask.can_hold() || ask.wants_copy_data())) {
            return Err(Some(Report::new("42501", "the permit is not for this action")));
        }
        Ok(permit)
    }

    pub(super) fn ask(&self, text: Arc<str>, facts: Arc<Facts>, referred: &Referred, parameters: Vec<Parameter>, uncertain: bool) -> Ask {
        let mut operations = facts.operations.clone();
        operations.extend(&referred.operations);
        if uncertain || facts.unparsable.is_some() {
            operations.insert(Operation::Unknown);
        }
        let not_exact = if uncertain {
            Some(NotExact::Uncertain)
        } else if self.has_temporary {
            Some(NotExact::TemporaryObjects)
        } else if self.settings.is_uncertain() {
            Some(NotExact::UncertainSetting)
        } else if !referred.references.is_empty() {
            Some(NotExact::BehindName)
        } else if copies(&facts) {
            Some(NotExact::CopyFromStdin)
        } else if !parameters.iter().all(parameter::is_shown) {
            Some(NotExact::UnreadableParameter)
        } else {
            None
        };
        Ask {
            text,
            facts,
            references: referred.references.clone(),
            operations,
            parameters,
            database: Arc::clone(&self.database),
            settings: self.settings.of_action(),
            in_transaction: self.in_transaction(),
            settled: self.outstanding.is_empty(),
            copy_data: None,
            not_exact,
        }
    }

    pub(super) fn hold(&mut self, ask: Ask, simple: bool, out: &mut Vec<Output>) -> Step {
        if !self.outstanding.is_empty() {
            return Step::Wait;
        }
        if self.status == TransactionStatus::Failed {
            let report = Report::new("25P02", "current transaction is aborted, commands ignored until end of transaction block");
            return self.refuse(Refusal::of(ask, report, simple), out);
        }
        if let Some(report) = self.can_never_write(&ask) {
            return self.refuse(Refusal::of(ask, report, simple), out);
        }
        if let Some(why) = ask.not_exact {
            let report = Report::new("42501", "this needs approval, and can't be held for it").detail(format!("Reason: {why}."));
            let report = ask.with_way_out(report);
            return self.refuse(Refusal::of(ask, report, simple), out);
        }
        Step::Hold(Box::new(ask))
    }

    /// Puts a message in place of the refused one that can only fail at the server.
    pub(super) fn refuse(&mut self, refusal: Refusal, out: &mut Vec<Output>) -> Step {
        if !self.outstanding.is_empty() {
            return Step::Wait;
        }
        let Refusal { report, simple, text, parameters, operations } = refusal;
        out.push(Output::Record(Record::Refused { text, parameters, operations, report: report.clone() }));
        self.push(Expect::Substitute { report, simple, answered: false, through: self.statements });
        if simple {
            self.segment_ran = false;
            self.prepared.end_segment();
            self.portals.end_segment();
            return Step::Replace(messages::query(REFUSED_TEXT));
        }
        self.skipping = true;
        Step::Replace(messages::parse(REFUSED_NAME, REFUSED_TEXT))
    }

    /// Spends the permit: numbers the statement, records the intent and charges the transaction.
    pub(super) fn begin(&mut self, permit: &Permit, ask: Ask, out: &mut Vec<Output>) -> Charge {
        self.statements += 1;
        let statement = self.statements;
        let (grant, claimed) = (permit.grant().clone(), permit.claimed().cloned());
        let charge = Charge { statement, grant, operations: ask.operations.clone(), claimed };
        match self
            .charges
            .iter_mut()
            .find(|found| found.grant == charge.grant && found.operations == charge.operations && found.claimed == charge.claimed)
        {
            Some(found) => found.statement = statement,
            None => self.charges.push(charge.clone()),
        }
        if charge.claimed.is_some() {
            self.raised_for(statement);
            self.claims.began(statement);
        }
        self.open.insert(statement, Progress::default());
        out.push(Output::Record(Record::Intent(Box::new(Intent {
            statement,
            text: ask.text,
            references: ask.references,
            parameters: ask.parameters,
            operations: ask.operations,
            grant: charge.grant.clone(),
            claimed: charge.claimed.clone(),
            sync_first: permit.sync_first(),
            audit: permit.audit(),
        }))));
        charge
    }

    /// A statement is about to run.
    pub(super) fn ran(&mut self, statement: u64, operations: &OperationSet, statements: &[StatementFacts]) {
        if let Some(progress) = self.open.get_mut(&statement) {
            progress.ran = true;
        }
        self.claims.ran(statement, self.order);
        self.follow_transaction(statements);
        let unknown = operations.contains(Operation::Unknown);
        if unknown {
            self.taint();
            self.reading.opaque(statement);
        }
        self.has_temporary |= unknown || operations.contains(Operation::Temp);
        self.has_temporary |= statements.iter().any(|statement| statement.kind == StatementKind::CreateTemp);
        self.settings.sent(statement, statements, self.status == TransactionStatus::Idle && !self.segment_ran);
    }

    /// The refusal, if so many more names or bytes of text would be too many.
    pub(super) fn no_room(&self, prepares: usize, portals: usize, bytes: usize) -> Option<Report> {
        let names = self.prepared.len() + prepares > self.config.max_names && prepares > 0
            || self.portals.len() + portals > self.config.max_names && portals > 0;
        let kept = if prepares + portals == 0 {
            0
        } else {
            self.prepared_bytes + if portals > 0 { self.portals.weigh(|portal| portal.prepared.text.len()) } else { 0 }
        };
        let full = names || kept + bytes > self.config.max_text_bytes;
        full.then(|| {
            Report::new("54000", "too many prepared statements or portals in this session").hint("Close some, or use fewer names.")
        })
    }

    pub(super) fn taint(&mut self) {
        self.prepared.taint(self.order);
        self.portals.taint(self.order);
    }

    pub(super) fn push(&mut self, expect: Expect) {
        self.outstanding_bytes += expect.bytes();
        self.outstanding.push_back(expect);
    }
}

impl Refusal {
    /// A refusal that is not about a text.
    pub(super) fn bare(report: Report, simple: bool) -> Self {
        Self { report, simple, text: "".into(), parameters: Vec::new(), operations: OperationSet::new() }
    }

    pub(super) fn of(ask: Ask, report: Report, simple: bool) -> Self {
        Self { report, simple, text: ask.text, parameters: ask.parameters, operations: ask.operations }
    }
}
