//! Claimed actions while their transaction is open: which of them a ROLLBACK TO undid.
//!
//! Only what may matter is kept: savepoints from the first claimed action on. To roll back to an earlier one undoes every claimed action.

use super::{
    Gate,
    ask::{Output, Record, Settlement},
};

/// Most savepoints kept; with more it is not known what a ROLLBACK TO undoes.
const MAX_SAVEPOINTS: usize = 10_000;

#[derive(Debug, Default)]
pub(super) struct Claims {
    /// Statements, each with the message that last ran it.
    ran: Vec<(u64, u64)>,
    /// Names, each with the message that made it.
    savepoints: Vec<(Box<str>, u64)>,
    too_many: bool,
}

/// What a statement did to savepoints.
#[derive(Clone, Debug)]
pub(crate) enum Savepoint {
    Made(Box<str>),
    Released(Box<str>),
    RolledBackTo(Box<str>),
}

impl Claims {
    pub(super) fn began(&mut self, statement: u64) {
        self.ran.push((statement, 0));
    }

    pub(super) fn ran(&mut self, statement: u64, order: u64) {
        if let Some(claim) = self.ran.iter_mut().find(|(claimed, _)| *claimed == statement) {
            claim.1 = order;
        }
    }

    /// Everything up to this statement is settled.
    pub(super) fn settled(&mut self, through: u64) {
        if !self.ran.is_empty() {
            self.ran.retain(|(statement, _)| *statement > through);
        }
        if self.ran.is_empty() {
            self.savepoints.clear();
            self.too_many = false;
        }
    }

    /// A message dealt with a savepoint: the claimed actions it undid, and whether that is sure.
    fn apply(&mut self, savepoint: Savepoint, order: u64) -> (Vec<u64>, Settlement) {
        let none = (Vec::new(), Settlement::RolledBack);
        if self.ran.is_empty() {
            return none;
        }
        let place = |name: &str| self.savepoints.iter().rposition(|(found, _)| **found == *name);
        match savepoint {
            Savepoint::Made(name) if self.savepoints.len() < MAX_SAVEPOINTS => self.savepoints.push((name, order)),
            Savepoint::Made(_) => self.too_many = true,
            Savepoint::Released(name) => self.savepoints.truncate(place(&name).unwrap_or(0)),
            Savepoint::RolledBackTo(name) => {
                let place = place(&name);
                let made = place.and_then(|place| self.savepoints.get(place)).map_or(0, |(_, order)| *order);
                // The savepoint itself stays.
                self.savepoints.truncate(place.map_or(0, |place| place + 1));
                let undone = self.ran.extract_if(.., |(_, ran)| *ran > made).map(|(statement, _)| statement).collect();
                return (undone, if self.too_many { Settlement::Unknown } else { Settlement::RolledBack });
            }
        }
        none
    }
}

impl Gate {
    /// A statement that deals with savepoints completed.
    pub(super) fn savepoint(&mut self, savepoint: Savepoint, order: u64, out: &mut Vec<Output>) {
        let (statements, how) = self.claims.apply(savepoint, order);
        self.settle_apart(statements, how, out);
    }

    /// A text that was not understood ended a transaction, or went back to a savepoint: what that did to claimed actions nobody can say.
    pub(super) fn unclear_end(&mut self, through: u64, out: &mut Vec<Output>) {
        let statements = self.claims.ran.iter().map(|(statement, _)| *statement).filter(|statement| *statement <= through).collect();
        self.claims.settled(through);
        self.settle_apart(statements, Settlement::Unknown, out);
    }

    fn settle_apart(&mut self, statements: Vec<u64>, how: Settlement, out: &mut Vec<Output>) {
        if !statements.is_empty() {
            // Cursors of an undone subtransaction are gone.
            statements.iter().for_each(|statement| self.portal_gone(*statement, out));
            out.push(Output::Record(Record::SettledApart { statements, how }));
        }
    }
}
