//! The second lock: which rights at the server follow from grants. Never more than the grants give; what can't be given exactly is not given.

use std::{collections::BTreeSet, sync::Arc};

use safeconduct_lifecycle::Access;
use safeconduct_model::{Minted, Narrowing, Operation, OperationSet, Postgres, Scope, Timestamp};

use crate::ports::{Object, Privilege, Rights};

/// What live windows give together.
pub(crate) fn of_grants(grants: &[Arc<Access>], postgres: &Postgres, minted: &Minted, now: Timestamp) -> Rights {
    let mut rights = Rights { roles: of(Operation::Connect, minted).cloned().collect(), ..Rights::default() };
    for access in grants.iter().filter(|access| access.is_live(now)) {
        let Scope::Window { operations, narrow } = &access.envelope.scope else { continue };
        if narrow.schemas.is_empty() && narrow.tables.is_empty() {
            add_operations(&mut rights, operations, minted);
        } else {
            add_narrowed(&mut rights, operations, narrow, postgres, minted);
        }
        rights.until = rights.until.max(access.deadline().unwrap_or_default());
    }
    rights
}

/// Adds what one exact action needs.
pub(crate) fn add_operations(rights: &mut Rights, operations: &OperationSet, minted: &Minted) {
    if operations.contains(Operation::Unrestricted) {
        rights.roles.extend(minted.roles.values().flatten().cloned());
    }
    rights.roles.extend(operations.iter().flat_map(|operation| of(operation, minted)).cloned());
}

/// True while nothing but reading is given: the session's transactions are read only.
pub(crate) fn is_read_only<'a>(operations: impl IntoIterator<Item = &'a OperationSet>) -> bool {
    operations.into_iter().flat_map(OperationSet::iter).all(|operation| matches!(operation, Operation::Connect | Operation::Read))
}

/// The same for live windows.
pub(crate) fn grants_are_read_only(grants: &[Arc<Access>], now: Timestamp) -> bool {
    is_read_only(grants.iter().filter(|access| access.is_live(now)).map(|access| access.envelope.scope.operations()))
}

fn of(operation: Operation, minted: &Minted) -> impl Iterator<Item = &String> {
    minted.roles.get(&operation).into_iter().flatten()
}

/// Rights on objects instead of memberships. `ddl` on tables, `admin` and `unrestricted` have no such form and give nothing.
fn add_narrowed(rights: &mut Rights, operations: &OperationSet, narrow: &Narrowing, postgres: &Postgres, minted: &Minted) {
    let mut privileges = BTreeSet::new();
    if operations.contains(Operation::Read) {
        privileges.insert(Privilege::Select);
    }
    if operations.contains(Operation::Write) {
        privileges.extend([Privilege::Insert, Privilege::Update, Privilege::Delete]);
    }
    if operations.contains(Operation::Temp) {
        // Temporary objects are in no schema that a narrowing names.
        rights.roles.extend(of(Operation::Temp, minted).cloned());
    }
    let mut give = |object: Object, given: &BTreeSet<Privilege>| {
        if !given.is_empty() {
            rights.objects.entry(object).or_default().extend(given);
        }
    };
    let usage = BTreeSet::from([Privilege::Usage]);
    if narrow.tables.is_empty() {
        for schema in &narrow.schemas {
            give(Object::Schema { name: schema.clone() }, &usage);
            give(Object::TablesIn { schema: schema.clone() }, &privileges);
            if operations.contains(Operation::Ddl) {
                give(Object::Schema { name: schema.clone() }, &BTreeSet::from([Privilege::Create]));
            }
        }
        return;
    }
    for table in &narrow.tables {
        match table.rsplit_once('.') {
            Some((schema, _)) if !narrow.schemas.is_empty() && !narrow.schemas.contains(schema) => {}
            Some((schema, name)) => {
                give(Object::Schema { name: schema.to_owned() }, &usage);
                give(Object::Table { schema: Some(schema.to_owned()), name: name.to_owned() }, &privileges);
            }
            None if narrow.schemas.is_empty() => {
                for schema in &postgres.search_path {
                    give(Object::Schema { name: schema.clone() }, &usage);
                }
                give(Object::Table { schema: None, name: table.clone() }, &privileges);
            }
            None => {
                for schema in &narrow.schemas {
                    give(Object::Schema { name: schema.clone() }, &usage);
                    give(Object::Table { schema: Some(schema.clone()), name: table.clone() }, &privileges);
                }
            }
        }
    }
}
