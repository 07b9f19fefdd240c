//! What people see before they sign: everything that is signed, line by line, as the vectors say that two programs share.
//! `UPDATE_GOLDEN=1` writes the vectors anew: look at the difference.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::{collections::BTreeMap, fs, path::Path};

use safeconduct_model::{
    AccessRequestId, Action, Asked, Bar, Change, CopyData, Digest, Envelope, GroupName, Narrowing, Operation, OperationSet, Origin,
    Parameter, PrincipalKind, Quorum, Scope, SessionId, SqlAction, Timestamp, TokenScopes, Ttl, Words,
};
use serde_json::{Value, json};

fn words(text: &str) -> Words {
    Words::new(text).unwrap()
}

fn quorum(bars: &[(u32, &[&str])]) -> Option<Quorum> {
    let bar = |&(count, groups): &(u32, &[&str])| Bar { count, groups: groups.iter().map(|g| g.parse::<GroupName>().unwrap()).collect() };
    Some(Quorum { any_of: bars.iter().map(bar).collect() })
}

fn envelope(scope: Scope) -> Envelope {
    let asked_at = Timestamp::from_micros(1_795_348_800_250_999);
    Envelope {
        v: 1,
        gateway: "test".into(),
        access_request: AccessRequestId::from_bits(1),
        nonce: "0123456789abcdef".repeat(2),
        requester: "alice".parse().unwrap(),
        requester_kind: PrincipalKind::Person,
        resource: "orders-db".parse().unwrap(),
        scope,
        duration: Ttl::from_seconds(1_800).unwrap(),
        starts_at: None,
        asked_at,
        pending_until: asked_at.plus_seconds(3_600),
        asked: Asked {
            reason: words("fix order 4711"),
            ticket: None,
            source: "127.0.0.1".into(),
            sign_in: "password".into(),
            sign_in_age_seconds: 60,
            claims: BTreeMap::new(),
        },
        origin: Origin::Asked,
        policy: Digest::of_bytes(b"policy"),
        quorum: quorum(&[(1, &["dba"])]),
        roster_epoch: 5,
    }
}

fn sql(text: &str) -> SqlAction {
    SqlAction { database: "app".into(), text: text.into(), parameters: vec![], settings: BTreeMap::new(), copy_data: None }
}

fn exact(action: Action, needs: &[Operation]) -> Scope {
    Scope::Exact { action, needs: needs.iter().copied().collect() }
}

fn parameter(type_oid: u32, binary: bool, hex: Option<&str>, shown: Option<&str>) -> Parameter {
    Parameter { type_oid, binary, hex: hex.map(Into::into), shown: shown.map(Into::into) }
}

fn changes() -> Vec<Change> {
    let name = || "bob".parse().unwrap();
    let group = || "dba".parse().unwrap();
    let scopes = || Some(serde_json::from_value::<TokenScopes>(json!(["read", "request"])).unwrap());
    let key = || "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA".to_owned();
    vec![
        Change::CreatePerson { name: name(), display_name: "Bob Müller".into() },
        Change::CreateWorkload { name: name(), display_name: "CI".into(), scopes: None },
        Change::CreateWorkload { name: name(), display_name: "CI".into(), scopes: scopes() },
        Change::Disable { name: name() },
        Change::Enable { name: name() },
        Change::AddMember { group: group(), name: name() },
        Change::RemoveMember { group: group(), name: name() },
        Change::ResetSecret { name: name(), scopes: None },
        Change::ResetSecret { name: name(), scopes: scopes() },
        Change::EnrolKey { name: name(), key: key() },
        Change::RemoveKey { name: name(), key: key() },
        Change::UnlinkIdentity { name: name(), issuer: "https://id.example".into(), subject: "0042".into() },
        Change::ApplyPolicy { hash: Digest::of_bytes(b"bundle") },
        Change::ConfirmClock,
    ]
}

fn cases() -> Vec<(String, Envelope)> {
    let held = SqlAction {
        parameters: vec![
            parameter(23, true, Some("00001267"), Some("4711")),
            parameter(25, false, Some("4e554c4c"), Some("NULL")),
            parameter(0, false, None, None),
            parameter(25, false, Some("ff"), Some("größer")),
        ],
        settings: [("search_path", "app, public"), ("datestyle", "ISO, DMY")].map(|(n, v)| (n.to_owned(), v.to_owned())).into(),
        ..sql("update orders\n   set state = $2, note = $3\n where id = $1 and note <> $4 -- größer\n")
    };
    let copy = SqlAction { copy_data: Some(CopyData::of("1\teins\n2\tzwei\n".repeat(6).as_bytes())), ..sql("copy orders from stdin") };
    let one_line = SqlAction { copy_data: Some(CopyData::of(b"1")), ..sql("copy orders from stdin") };
    let write = [Operation::Connect, Operation::Write];
    let narrow = Narrowing {
        databases: ["app".to_owned()].into(),
        schemas: ["public".to_owned()].into(),
        tables: ["public.orders".to_owned(), "public.customers".to_owned()].into(),
    };
    let operations: OperationSet = [Operation::Connect, Operation::Read, Operation::Write].into_iter().collect();
    let window = Scope::Window { operations, narrow: Narrowing::default() };
    let mut cases = vec![
        ("exact".to_owned(), envelope(exact(Action::Sql(sql("delete from orders where id = 4711")), &write))),
        (
            "held".to_owned(),
            Envelope {
                origin: Origin::Held { session: SessionId::from_bits(3), in_transaction: true },
                quorum: quorum(&[(2, &["dba", "owners"]), (3, &[])]),
                ..envelope(exact(Action::Sql(held), &write))
            },
        ),
        (
            "copy".to_owned(),
            Envelope {
                origin: Origin::Held { session: SessionId::from_bits(4), in_transaction: false },
                quorum: quorum(&[(2, &["dba"]), (3, &["dba", "owners"])]),
                ..envelope(exact(Action::Sql(copy), &write))
            },
        ),
        ("copy-one-line".to_owned(), Envelope { quorum: quorum(&[(1, &[])]), ..envelope(exact(Action::Sql(one_line), &write)) }),
        (
            "window-by-a-workload".to_owned(),
            Envelope {
                requester_kind: PrincipalKind::Workload,
                requester: "ci".parse().unwrap(),
                starts_at: Some(Timestamp::from_micros(1_795_350_000_000_000)),
                duration: Ttl::from_seconds(90_061).unwrap(),
                quorum: None,
                asked: Asked {
                    ticket: Some(words("INC-812 “urgent”")),
                    sign_in: "token".into(),
                    claims: [("repository".to_owned(), words("shop/orders")), ("branch".to_owned(), words("main"))].into(),
                    ..envelope(window.clone()).asked
                },
                ..envelope(window.clone())
            },
        ),
        ("window-narrowed".to_owned(), envelope(Scope::Window { operations: write.into_iter().collect(), narrow })),
        (
            "extension".to_owned(),
            Envelope {
                origin: Origin::Extension { of: AccessRequestId::from_bits(9).grant() },
                quorum: quorum(&[(2, &[])]),
                ..envelope(window)
            },
        ),
    ];
    for (place, change) in (1..).zip(changes()) {
        let name = format!("change-{place:02}");
        cases.push((name, envelope(exact(Action::Administration(change.clone()), &[change.operation()]))));
    }
    cases
}

#[test]
fn f54_the_lines_are_those_of_the_vectors() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../tests/vectors/envelope");
    let mut names = Vec::new();
    for (name, envelope) in cases() {
        let lines: Vec<[String; 2]> = envelope.rendering().into_iter().map(|line| [line.label, line.value]).collect();
        let vector = json!({ "envelope": envelope, "digest": envelope.digest().unwrap(), "lines": lines });
        let file = folder.join(format!("{name}.json"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::create_dir_all(&folder).unwrap();
            fs::write(&file, format!("{vector:#}\n")).unwrap();
        }
        // Members have no order: how they are written depends on what else is built.
        let there: Value = fs::read(&file).map_or(Value::Null, |bytes| serde_json::from_slice(&bytes).unwrap());
        assert_eq!(there, vector, "{name}");
        names.push(format!("{name}.json"));
    }
    let there = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(there.filter(|name| !names.contains(name)).collect::<Vec<_>>(), [""; 0], "vectors of nobody");
}

/// Every value in a JSON text, by its path.
fn leaves(value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            members.iter().for_each(|(name, value)| leaves(value, &format!("{path}/{}", name.replace('/', "~1")), found))
        }
        Value::Array(items) => items.iter().enumerate().for_each(|(at, value)| leaves(value, &format!("{path}/{at}"), found)),
        _ => found.push(path.to_owned()),
    }
}

/// Other values of the same sort, some of which mean something in this place.
fn others(value: &Value) -> Vec<Value> {
    const TEXTS: [&str; 14] = [
        "other",
        "read",
        "connect",
        "ledger",
        "workload",
        "person",
        "00",
        "disable",
        "enable",
        "rq-00000000000a",
        "gr-00000000000a",
        "se-00000000000a",
        "ffffffffffffffffffffffffffffffff",
        "sha256:0000000000000000000000000000000000000000000000000000000000000000",
    ];
    match value {
        Value::Bool(value) => vec![json!(!value)],
        Value::Number(number) => vec![json!(number.as_i64().unwrap() + 1), json!(number.as_i64().unwrap() + 1_000)],
        Value::Null => [json!("other"), json!(1_795_350_000_000_000_i64), json!({ "any_of": [] })].into(),
        _ => TEXTS.iter().map(|text| json!(text)).collect(),
    }
}

#[test]
fn f54_nothing_that_is_signed_is_left_out() {
    for (name, envelope) in cases() {
        let (whole, lines) = (serde_json::to_value(&envelope).unwrap(), envelope.rendering());
        let mut paths = Vec::new();
        leaves(&whole, "", &mut paths);
        for path in paths {
            let own = whole.pointer(&path).unwrap();
            let mut tried = 0;
            for other in others(own).into_iter().filter(|other| other != own) {
                let mut changed = whole.clone();
                *changed.pointer_mut(&path).unwrap() = other.clone();
                let Ok(changed) = serde_json::from_value::<Envelope>(changed) else { continue };
                if changed == envelope {
                    continue;
                }
                // Times are shown to the millisecond.
                let micros = matches!(path.as_str(), "/asked_at" | "/pending_until" | "/starts_at")
                    && (other.as_i64().unwrap() - own.as_i64().unwrap_or_default()).abs() < 1_000;
                tried += 1;
                assert!(micros || changed.rendering() != lines, "{name}: {path} as {other} reads the same");
            }
            // A tag has the members of its own kind beside it.
            let tag = matches!(path.as_str(), "/scope/scope" | "/scope/action/kind" | "/scope/action/change" | "/origin/origin");
            assert!(tried > 0 || tag || name == "exact" && path == "/quorum", "{name}: nothing else fits {path}");
        }
    }
}
