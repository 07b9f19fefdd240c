//! What texts say about names: which ones they run (EXECUTE, FETCH), and which ones they make or take away.
//!
//! A name that is not known for certain, or that hides another name, makes its text `unknown`.

use std::{collections::BTreeMap, sync::Arc};

use safeconduct_model::{Operation, OperationSet};
use safeconduct_sql::facts::{Facts, StatementFacts, StatementKind};

use super::{
    Gate,
    ask::{Charge, Reference},
    claims::Savepoint,
    names::{MAX_NAME_BYTES, Meaning},
    statements::{Effect, Named, Portal, Prepared},
};

/// What a text's EXECUTE and FETCH name.
#[derive(Default)]
pub(super) struct Referred {
    pub references: Vec<Reference>,
    pub targets: Vec<Named>,
    pub operations: OperationSet,
    pub unsettled: bool,
    /// One of them is COPY FROM STDIN.
    pub copies: bool,
}

impl Gate {
    /// What a text's EXECUTE and FETCH name, each at its place in the text.
    pub(super) fn refer(&self, text: &str, facts: &Facts) -> Referred {
        let mut referred = Referred::default();
        // What earlier statements of the same text make of the names: a later one runs only if they succeeded.
        let mut prepared: BTreeMap<&str, Option<Arc<Prepared>>> = BTreeMap::new();
        let mut cursors: BTreeMap<&str, Option<OperationSet>> = BTreeMap::new();
        let mut forgotten = false;
        for statement in &facts.statements {
            match &statement.kind {
                // The parser cuts long names off as the server does; one that is longer all the same is not trusted.
                StatementKind::Prepare { name, .. }
                | StatementKind::DeclareCursor { name, .. }
                | StatementKind::Execute { name }
                | StatementKind::Fetch { name }
                    if name.len() > MAX_NAME_BYTES =>
                {
                    referred.nothing(name);
                }
                StatementKind::Prepare { name, inner } => {
                    prepared.insert(name, Some(Arc::new(Prepared::inner(text, statement, inner))));
                }
                StatementKind::Deallocate { name: Some(name) } => {
                    prepared.insert(name, None);
                }
                StatementKind::DeclareCursor { name, inner, .. } => {
                    cursors.insert(name, Some(inner.operations.clone()));
                }
                StatementKind::CloseCursor { name: Some(name) } => {
                    cursors.insert(name, None);
                }
                StatementKind::Deallocate { name: None } | StatementKind::CloseCursor { name: None } | StatementKind::Discard { .. } => {
                    forgotten = true;
                    prepared.clear();
                    cursors.clear();
                }
                StatementKind::Execute { name } => match (prepared.get(name.as_str()), forgotten) {
                    (Some(Some(found)), _) => referred.prepared(name, found, false),
                    (Some(None), _) | (None, true) => referred.nothing(name),
                    (None, false) => match self.prepared.meaning(name.as_bytes()) {
                        Meaning::Is(found) => referred.prepared(name, &found, false),
                        Meaning::Uncertain(found) => referred.prepared(name, &found, true),
                        Meaning::Nothing => referred.nothing(name),
                        Meaning::Unsettled => referred.unsettled = true,
                    },
                },
                StatementKind::Fetch { name } => match (cursors.get(name.as_str()), forgotten) {
                    (Some(Some(operations)), _) => referred.named(name, None, operations.clone(), Named::Nothing),
                    (Some(None), _) | (None, true) => referred.nothing(name),
                    (None, false) => match self.portals.meaning(name.as_bytes()) {
                        Meaning::Is(found) => referred.portal(name, &found, false),
                        Meaning::Uncertain(found) => referred.portal(name, &found, true),
                        Meaning::Nothing => referred.nothing(name),
                        Meaning::Unsettled => referred.unsettled = true,
                    },
                },
                _ => {}
            }
        }
        referred
    }

    /// Marks the names that these may change.
    pub(super) fn send_effects(&mut self, effects: &[(usize, Effect)]) {
        for (_, effect) in effects {
            match effect {
                Effect::Prepare(name, prepared) => self.prepared.sent(name, Some((Arc::clone(prepared), self.order))),
                Effect::Deallocate(name) => self.prepared.sent(name, None),
                Effect::DeallocateAll => self.prepared.sent_all(),
                Effect::Declare(name, portal) => self.portals.sent(name, Some((Arc::clone(portal), self.order))),
                Effect::CloseCursor(name) => self.portals.sent(name, None),
                Effect::CloseAllCursors => self.portals.sent_all(),
                Effect::DiscardAll => {
                    self.prepared.sent_all();
                    self.portals.sent_all();
                }
                Effect::Savepoint(_) | Effect::EndTransaction { .. } => {}
            }
        }
    }
}

impl Referred {
    fn prepared(&mut self, name: &str, found: &Arc<Prepared>, uncertain: bool) {
        let mut operations = found.facts.operations.clone();
        self.copies |= copies(&found.facts);
        // The protocol's Parse names what SQL's PREPARE does not take. What changes names, settings or the transaction is followed where it
        // is said, and a name behind a name nowhere.
        let follows = |inner: &StatementFacts| {
            use StatementKind::{CopyFromStdin, CopyToStdout, CreateTemp, Plain, Show};
            matches!(inner.kind, Plain | Show { .. } | CopyFromStdin { .. } | CopyToStdout | CreateTemp)
        };
        if uncertain || found.doubtful || !found.facts.statements.iter().all(follows) {
            operations.insert(Operation::Unknown);
        }
        self.named(name, Some(Arc::clone(&found.text)), operations, Named::Prepared(Arc::clone(found)));
    }

    fn portal(&mut self, name: &str, found: &Arc<Portal>, uncertain: bool) {
        let mut operations = found.operations.clone();
        if uncertain {
            operations.insert(Operation::Unknown);
        }
        self.named(name, Some(Arc::clone(&found.prepared.text)), operations, Named::Portal(Arc::clone(found)));
    }

    fn nothing(&mut self, name: &str) {
        self.named(name, None, [Operation::Unknown].into_iter().collect(), Named::Nothing);
    }

    fn named(&mut self, name: &str, text: Option<Arc<str>>, operations: OperationSet, target: Named) {
        self.operations.extend(&operations);
        self.references.push(Reference { name: name.to_owned(), text, operations });
        self.targets.push(target);
    }
}

/// What the statements of a text do to names when they complete, with their places in the text.
pub(super) fn effects(text: &str, facts: &Facts, charge: &Charge) -> Vec<(usize, Effect)> {
    let all = facts.statements.iter().enumerate();
    all.filter_map(|(place, statement)| effect(text, statement, charge).map(|effect| (place, effect))).collect()
}

fn effect(text: &str, statement: &StatementFacts, charge: &Charge) -> Option<Effect> {
    let key = |name: &str| -> Box<[u8]> { name.as_bytes().into() };
    Some(match &statement.kind {
        StatementKind::Prepare { name, inner } => Effect::Prepare(key(name), Arc::new(Prepared::inner(text, statement, inner))),
        StatementKind::Deallocate { name: Some(name) } => Effect::Deallocate(key(name)),
        StatementKind::Deallocate { name: None } => Effect::DeallocateAll,
        StatementKind::DeclareCursor { name, inner, hold } => Effect::Declare(
            key(name),
            Arc::new(Portal {
                statement: charge.statement,
                charge: charge.clone(),
                prepared: Arc::new(Prepared::inner(text, statement, inner)),
                operations: inner.operations.clone(),
                targets: Vec::new(),
                cursor: true,
                hold: *hold,
            }),
        ),
        StatementKind::CloseCursor { name: Some(name) } => Effect::CloseCursor(key(name)),
        StatementKind::CloseCursor { name: None } => Effect::CloseAllCursors,
        StatementKind::Discard { all: true, .. } => Effect::DiscardAll,
        StatementKind::Savepoint { name } => Effect::Savepoint(Savepoint::Made(name.as_str().into())),
        StatementKind::ReleaseSavepoint { name } => Effect::Savepoint(Savepoint::Released(name.as_str().into())),
        StatementKind::RollbackTo { name } => Effect::Savepoint(Savepoint::RolledBackTo(name.as_str().into())),
        kind => return Effect::of_transaction(kind),
    })
}

/// True if a statement of the text is COPY FROM STDIN.
pub(super) fn copies(facts: &Facts) -> bool {
    facts.statements.iter().any(|statement| matches!(statement.kind, StatementKind::CopyFromStdin { .. }))
}

/// How many prepared statements and cursors a text makes.
pub(super) fn makes(facts: &Facts) -> (usize, usize) {
    let count = |wanted: fn(&StatementKind) -> bool| facts.statements.iter().filter(|statement| wanted(&statement.kind)).count();
    (count(|kind| matches!(kind, StatementKind::Prepare { .. })), count(|kind| matches!(kind, StatementKind::DeclareCursor { .. })))
}
