//! Calls of the old fast path: a function by its number, as libpq's large objects use it.
//!
//! What the number stands for is the database's to say, so such a call is beyond understanding: it passes under `unrestricted` and is never
//! held. The server answers it like a query.

use std::sync::Arc;

use super::{
    Copy, Gate,
    ask::{Ask, Ended, Judge, NotExact, Output},
    client::Step,
    decide::Refusal,
    reading::beyond_understanding,
    refer::Referred,
    statements::Expect,
};
use crate::postgres::{
    messages::{FunctionCall, Report},
    parameter,
};

/// A forwarded call.
#[derive(Debug)]
pub(super) struct ExpectCall {
    pub statement: u64,
    pub failed: Option<(String, String)>,
}

impl Gate {
    pub(super) fn call(&mut self, call: &FunctionCall<'_>, judge: &mut dyn Judge, out: &mut Vec<Output>) -> Step {
        if let Some(step) = self.beside_claimed(None, true, out) {
            return step;
        }
        // A comment: nobody can mistake it for something to run again.
        let text: Arc<str> = format!("-- fast-path call of function {}", call.function_oid).into();
        let facts = Arc::new(beyond_understanding("a function is called by its number".to_owned()));
        let parameters = call.arguments.iter().map(|(binary, value)| parameter::record(0, *binary, *value)).collect();
        let ask = self.ask(text, facts, &Referred::default(), parameters, false);
        let ask = Ask { not_exact: Some(NotExact::Unparsable), ..ask };
        let Ok(permit) = self.decide(&ask, None, judge) else {
            let report = Report::new("42501", "function calls of the fast-path protocol pass only under unrestricted access")
                .hint("Call the function in a SELECT.");
            return self.refuse(Refusal::of(ask, report, true), out);
        };
        if !self.charges.is_empty() && !judge.still_covered(&self.charges) {
            return Step::Uncovered;
        }
        let operations = ask.operations.clone();
        let statement = self.begin(&permit, ask, out).statement;
        self.order += 1;
        self.prepared.end_segment();
        self.portals.end_segment();
        self.ran(statement, &operations, &[]);
        self.push(Expect::Call(Box::new(ExpectCall { statement, failed: None })));
        self.segment_ran = false;
        Step::Forward
    }

    /// The server is ready after a call.
    pub(super) fn call_over(&mut self, call: ExpectCall, out: &mut Vec<Output>) {
        let ended = match call.failed {
            Some((sqlstate, message)) => Ended::Failed { sqlstate, message },
            None => Ended::Completed { tag: String::new(), rows: None },
        };
        self.copy = Copy::No;
        self.ended(call.statement, ended, out);
    }
}
