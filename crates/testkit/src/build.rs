//! Builders: small valid values for tests, to be changed where a test cares.

use std::collections::{BTreeMap, BTreeSet};

use safeconduct_lifecycle::{Actor, DirectoryEvent, NodeEvent, SessionEvent};
use safeconduct_model::{
    AccessRequestId, Asked, Credentials, Digest, Envelope, GroupName, Narrowing, Operation, OperationSet, Origin, Postgres, Principal,
    PrincipalKind, PrincipalName, Resource, ResourceKind, ResourceName, Scope, SecretRef, Sensitivity, SqlAction, Timestamp, Ttl,
    UpstreamTls, Words,
};

use crate::START;

/// Parses a literal.
///
/// # Panics
/// If the literal is not valid.
#[must_use]
#[track_caller]
pub fn parsed<T: std::str::FromStr<Err: std::fmt::Debug>>(literal: &str) -> T {
    match literal.parse() {
        Ok(value) => value,
        Err(error) => panic!("`{literal}`: {error:?}"),
    }
}

/// A person in these groups since long before [`START`].
#[must_use]
pub fn person(name: &str, groups: &[&str]) -> Principal {
    principal(name, PrincipalKind::Person, groups)
}

/// A workload in these groups.
#[must_use]
pub fn workload(name: &str, groups: &[&str]) -> Principal {
    principal(name, PrincipalKind::Workload, groups)
}

fn principal(name: &str, kind: PrincipalKind, groups: &[&str]) -> Principal {
    let since = START.plus_seconds(-86_400);
    let groups: BTreeMap<GroupName, Timestamp> = groups.iter().map(|group| (parsed(group), since)).collect();
    Principal {
        name: parsed(name),
        kind,
        display_name: name.to_owned(),
        created_at: since,
        disabled: false,
        groups,
        department: None,
        manager: None,
        attributes: std::collections::BTreeMap::new(),
    }
}

/// A PostgreSQL resource on the loopback, port 5432, database `app`.
#[must_use]
pub fn postgres_resource(name: &str) -> Resource {
    let postgres = Postgres {
        host: "127.0.0.1".to_owned(),
        port: 5432,
        database: "app".to_owned(),
        databases: BTreeSet::new(),
        tls: UpstreamTls::DangerDisabled,
        credentials: Credentials::Static { user: "app".to_owned(), password: SecretRef::Env("APP_PASSWORD".to_owned()) },
        search_path: vec!["public".to_owned()],
        functions: BTreeMap::new(),
        danger_unrestricted: false,
        hold: ttl(15 * 60),
        hold_in_transaction: ttl(60),
    };
    Resource {
        name: parsed(name),
        kind: ResourceKind::Postgres(postgres),
        description: String::new(),
        owner: None,
        labels: BTreeMap::new(),
        sensitivity: Sensitivity::Medium,
        time_zone: "UTC".to_owned(),
    }
}

/// `seconds` as a length of time.
///
/// # Panics
/// If no right may last that long.
#[must_use]
#[track_caller]
pub fn ttl(seconds: u64) -> Ttl {
    match Ttl::from_seconds(seconds) {
        Ok(ttl) => ttl,
        Err(error) => panic!("{seconds}: {error}"),
    }
}

/// One line of words.
///
/// # Panics
/// If the words are not fit to be shown.
#[must_use]
#[track_caller]
pub fn words(text: &str) -> Words {
    match Words::new(text) {
        Ok(words) => words,
        Err(error) => panic!("`{text}`: {error}"),
    }
}

/// A window of these operations.
#[must_use]
pub fn window(operations: &[Operation]) -> Scope {
    Scope::Window { operations: operations.iter().copied().collect::<OperationSet>(), narrow: Narrowing::default() }
}

/// A statement without parameters in database `app`.
#[must_use]
pub fn sql(text: &str) -> SqlAction {
    SqlAction { database: "app".to_owned(), text: text.to_owned(), parameters: Vec::new(), settings: BTreeMap::new(), copy_data: None }
}

/// An envelope asked at [`START`] for 30 minutes of `read`, pending for an hour, without a quorum.
#[must_use]
pub fn envelope(id: AccessRequestId, requester: PrincipalName, resource: ResourceName) -> Envelope {
    Envelope {
        v: 1,
        gateway: "test".to_owned(),
        nonce: Digest::of_bytes(id.as_str().as_bytes()).to_string().chars().skip(7).take(32).collect(),
        access_request: id,
        requester,
        requester_kind: PrincipalKind::Person,
        resource,
        scope: window(&[Operation::Read]),
        duration: ttl(30 * 60),
        starts_at: None,
        asked_at: START,
        pending_until: START.plus_seconds(3600),
        asked: Asked {
            reason: words("a test"),
            ticket: None,
            source: "127.0.0.1".to_owned(),
            sign_in: "password".to_owned(),
            sign_in_age_seconds: 0,
            claims: std::collections::BTreeMap::new(),
        },
        origin: Origin::Asked,
        policy: Digest::of_bytes(b"policy"),
        quorum: None,
        roster_epoch: 0,
    }
}

/// The gateway itself, for a cause.
#[must_use]
pub fn gateway(cause: &str) -> Actor {
    Actor::Gateway { cause: cause.to_owned() }
}

/// A session that was opened.
#[must_use]
pub fn session_opened(principal: &str, resource: &str, at: Timestamp) -> SessionEvent {
    SessionEvent::Opened {
        principal: parsed(principal),
        resource: parsed(resource),
        database: "app".to_owned(),
        source: "127.0.0.1:40000".to_owned(),
        grants: Vec::new(),
        at,
    }
}

/// A person who was created.
#[must_use]
pub fn person_created(name: &str, at: Timestamp) -> DirectoryEvent {
    DirectoryEvent::PersonCreated { name: parsed(name), display_name: name.to_owned(), at, by: gateway("bootstrap") }
}

/// A node that was started.
#[must_use]
pub fn node_started(at: Timestamp) -> NodeEvent {
    NodeEvent::Started { version: "0.0.0-test".to_owned(), gateway: "test".to_owned(), signing_page: None, at }
}
