//! Joins the gate's questions to the one `authorize`. Translates and adds nothing.

use std::sync::Arc;

use safeconduct_app::{self as app, DoorSession, Refusal, StatementAsk};
use safeconduct_protocol::postgres::{
    gate::{Ask, Charge, Judge, Verdict},
    messages::Report,
};
use safeconduct_sql::Facts;

/// The application's answers for one session.
pub(crate) struct Asks<'a>(pub &'a DoorSession);

impl Judge for Asks<'_> {
    fn facts(&mut self, text: &str) -> Arc<Facts> {
        self.0.facts(text)
    }

    fn judge(&mut self, ask: &Ask) -> Verdict {
        let facts = self.whole(ask);
        let asked = StatementAsk { facts: &facts, can_hold: ask.can_hold(), in_transaction: ask.in_transaction };
        match self.0.authorize(&asked) {
            app::Verdict::Permit(permit) => Verdict::Permit(permit),
            app::Verdict::Hold => Verdict::Hold,
            app::Verdict::Refuse(refusal) => Verdict::Refuse(report(refusal)),
        }
    }

    fn still_covered(&mut self, charges: &[Charge]) -> bool {
        still_covered(self.0, charges)
    }
}

impl Asks<'_> {
    /// Facts of the text together with those of what it names: both must be covered.
    fn whole(&self, ask: &Ask) -> Arc<Facts> {
        if ask.references.is_empty() && ask.operations == ask.facts.operations {
            return Arc::clone(&ask.facts);
        }
        let mut whole = Facts::clone(&ask.facts);
        whole.operations.extend(&ask.operations);
        for reference in &ask.references {
            whole.operations.extend(&reference.operations);
            if let Some(text) = &reference.text {
                let named = self.0.facts(text);
                whole.operations.extend(&named.operations);
                whole.statements.extend(named.statements.iter().cloned());
                if whole.unparsable.is_none() {
                    whole.unparsable.clone_from(&named.unparsable);
                }
            }
        }
        Arc::new(whole)
    }
}

/// True while every right the open transaction used is still held.
pub(crate) fn still_covered(session: &DoorSession, charges: &[Charge]) -> bool {
    session.still_covered(charges.iter().map(|charge| app::Charge { grant: &charge.grant, operations: &charge.operations }))
}

/// A refusal in PostgreSQL's own form.
pub(crate) fn report(refusal: Refusal) -> Report {
    Report { sqlstate: refusal.sqlstate.to_owned(), message: refusal.message, detail: refusal.detail, hint: refusal.hint }
}
