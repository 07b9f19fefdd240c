//! Digests: any change to an envelope changes its digest (F20), and canonical JSON is RFC 8785's, by its own vectors.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::{collections::BTreeSet, fs, path::Path};

use safeconduct_model::{
    AccessRequestId, Action, Asked, Bar, Digest, Envelope, Narrowing, Operation, Origin, Parameter, PrincipalKind, Quorum, Scope,
    SessionId, SqlAction, Timestamp, Ttl, Words, canonical,
};
use serde_json::Value;

fn envelope(scope: Scope, origin: Origin) -> Envelope {
    let asked_at = Timestamp::from_micros(1_795_348_800_000_000);
    Envelope {
        v: 1,
        gateway: "test".into(),
        access_request: AccessRequestId::from_bits(1),
        nonce: "0".repeat(32),
        requester: "alice".parse().unwrap(),
        requester_kind: PrincipalKind::Person,
        resource: "orders-db".parse().unwrap(),
        scope,
        duration: Ttl::from_seconds(1_800).unwrap(),
        starts_at: Some(asked_at.plus_seconds(60)),
        asked_at,
        pending_until: asked_at.plus_seconds(3_600),
        asked: Asked {
            reason: Words::new("fix order 4711").unwrap(),
            ticket: Some(Words::new("INC-812").unwrap()),
            source: "127.0.0.1".into(),
            sign_in: "password".into(),
            sign_in_age_seconds: 60,
            claims: std::collections::BTreeMap::new(),
        },
        origin,
        policy: Digest::of_bytes(b"policy"),
        quorum: Some(Quorum { any_of: vec![Bar { count: 2, groups: ["dba".parse().unwrap(), "owners".parse().unwrap()].into() }] }),
        roster_epoch: 5,
    }
}

fn exact() -> Envelope {
    let parameter =
        |hex: Option<&str>| Parameter { type_oid: 23, binary: true, hex: hex.map(Into::into), shown: hex.map(|_| "4711".into()) };
    let sql = SqlAction {
        database: "orders".into(),
        text: "delete from orders where id = $1".into(),
        parameters: vec![parameter(Some("00001267")), parameter(None)],
        settings: [("datestyle".to_owned(), "ISO, DMY".to_owned())].into(),
        copy_data: None,
    };
    let scope = Scope::Exact { action: Action::Sql(sql), needs: [Operation::Write].into_iter().collect() };
    envelope(scope, Origin::Held { session: SessionId::from_bits(3), in_transaction: true })
}

fn window() -> Envelope {
    let set = |text: &str| BTreeSet::from([text.to_owned()]);
    let narrow = Narrowing { databases: set("orders"), schemas: set("public"), tables: set("orders") };
    let operations = [Operation::Connect, Operation::Read].into_iter().collect();
    envelope(Scope::Window { operations, narrow }, Origin::Extension { of: AccessRequestId::from_bits(9).grant() })
}

/// Every value that differs from `value` in one leaf, one missing or added member or one missing or doubled item.
fn changed(value: &Value) -> Vec<Value> {
    match value {
        Value::Null => vec![Value::from("x")],
        Value::Bool(bool) => vec![Value::Bool(!bool), Value::Null],
        Value::Number(number) => {
            let number = number.as_i64().unwrap();
            vec![Value::from(number + 1), Value::from(number - 1), Value::from(number.to_string()), Value::Null]
        }
        Value::String(text) => {
            let mut flipped = text.clone();
            let last = flipped.pop();
            flipped.push(if last == Some('z') { 'y' } else { 'z' });
            vec![Value::from(flipped), Value::from(format!("{text} ")), Value::from(text.to_uppercase() + "\u{200b}"), Value::Null]
        }
        Value::Array(items) => {
            let mut all = vec![Value::from([items.clone(), vec![Value::Null]].concat())];
            for (place, item) in items.iter().enumerate() {
                let mut without = items.clone();
                without.remove(place);
                all.push(Value::from(without));
                all.extend(changed(item).into_iter().map(|item| {
                    let mut with = items.clone();
                    with[place] = item;
                    Value::from(with)
                }));
            }
            all
        }
        Value::Object(members) => {
            let mut more = members.clone();
            more.insert("added".into(), Value::from(1));
            let mut all = vec![Value::Object(more)];
            for (key, member) in members {
                let mut without = members.clone();
                without.remove(key);
                all.push(Value::Object(without));
                all.extend(changed(member).into_iter().map(|member| {
                    let mut with = members.clone();
                    with.insert(key.clone(), member);
                    Value::Object(with)
                }));
            }
            all
        }
    }
}

#[test]
fn f20_any_change_to_an_envelope_changes_its_digest() {
    for original in [exact(), window()] {
        let json = serde_json::to_value(&original).unwrap();
        let digest = original.digest().unwrap();
        assert_eq!(Digest::of(&json).unwrap(), digest, "the digest is of what is stored");
        let changes = changed(&json);
        assert!(changes.len() > 100, "{} changes", changes.len());
        for change in changes {
            assert_ne!(Digest::of(&change).unwrap(), digest, "{change}");
        }
    }
}

#[test]
fn f20_nothing_of_an_envelope_stays_outside_its_digest() {
    for original in [exact(), window()] {
        let json = serde_json::to_string(&original).unwrap();
        let back: Envelope = serde_json::from_str(&json).unwrap();
        assert_eq!(back, original);
        assert_eq!(back.digest(), original.digest());
        // Every change that still reads as an envelope has the same digest only if it says the same.
        for change in changed(&serde_json::to_value(&original).unwrap()) {
            if let Ok(other) = serde_json::from_value::<Envelope>(change.clone()) {
                assert_eq!(other == original, other.digest() == original.digest(), "{change}");
            }
        }
    }
}

#[test]
fn f20_integers_that_would_share_a_canonical_text_have_none() {
    let mut envelope = window();
    envelope.roster_epoch = (1 << 53) - 1;
    let largest = envelope.digest().unwrap();
    envelope.roster_epoch -= 1;
    assert_ne!(envelope.digest().unwrap(), largest);
    for beyond in [1 << 53, (1 << 53) + 1, u64::MAX] {
        envelope.roster_epoch = beyond;
        assert!(envelope.digest().is_err(), "{beyond}");
    }
    assert!(canonical(&[i64::MIN]).is_err());
    assert!(canonical(&[-(1_i64 << 53) + 1]).is_ok());
}

#[test]
fn canonical_json_is_rfc_8785() {
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../tests/vectors/jcs");
    let mut names: Vec<_> = fs::read_dir(vectors.join("input")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert!(names.len() >= 6, "vectors are missing");
    for name in names {
        let input: Value = serde_json::from_str(&fs::read_to_string(vectors.join("input").join(&name)).unwrap()).unwrap();
        let expected = fs::read_to_string(vectors.join("output").join(&name)).unwrap();
        assert_eq!(String::from_utf8(canonical(&input).unwrap()).unwrap(), expected.trim_end_matches('\n'), "{}", name.display());
    }
}

#[test]
fn a_digest_reads_back_in_one_spelling_only() {
    let digest = Digest::of_bytes(b"abc");
    let text = digest.to_string();
    assert_eq!(text, "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_eq!(text.parse::<Digest>(), Ok(digest));
    for bad in [text.to_uppercase(), text.replace("sha256:", ""), text[..70].to_owned(), format!("{text}0"), text.replace("ba78", "+a78")] {
        assert!(bad.parse::<Digest>().is_err(), "{bad}");
    }
}
