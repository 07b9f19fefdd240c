//! Events: what is stored reads back as it was, under a name of its own, and as an event of its own stream only.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeSet;

use common::*;
use safeconduct_lifecycle::{
    AccessEvent, Approval, Chunk, DirectoryEvent, Event, ExactOutcome, GroupDescription, LeftOut, NodeEvent, PersonDescription,
    PolicyEvent, Retirement, Session, SessionEvent, SignInEvent, Start, StreamId, TransactionEnd, Vouched, Withdrawal, evolve_session,
};
use safeconduct_model::{AccessRequestId, Digest, Outcome, PersonAttribute, SessionId, SignInId};

#[test]
fn who_was_described_before_attributes_were_kept_reads_back() {
    let old = r#"{"source":"corp","user_name":"eve","department":"Payments"}"#;
    let description: PersonDescription = serde_json::from_str(old).unwrap();
    assert!(description.attributes.is_empty());
    assert_eq!(serde_json::to_string(&description).unwrap(), old);
    let costs = PersonDescription { attributes: [(PersonAttribute::CostCenter, "4711".to_owned())].into(), ..description };
    assert!(serde_json::to_string(&costs).unwrap().ends_with(r#""attributes":{"costCenter":"4711"}}"#));
}

fn access_events() -> Vec<AccessEvent> {
    let decision = need(&[(2, &["dba", "owners"]), (3, &[])]);
    let envelope = Box::new(envelope(1, exact(), &decision));
    let approval = Approval {
        approver: name("bob"),
        groups: ["dba".parse().unwrap()].into(),
        at: at(10),
        digest: Digest::of_bytes(b"shown"),
        comment: Some(words("fine for INC-812")),
        evidence: evidence(),
    };
    let outcomes = [
        ExactOutcome::Executed { command: "DELETE 1".into(), rows: Some(1), transaction: TransactionEnd::Committed },
        ExactOutcome::Failed { sqlstate: "42P01".into(), message: "relation \"x\" does not exist".into() },
        ExactOutcome::RefusedNotRun { why: "the resource is gone".into() },
        ExactOutcome::Unknown { why: "the answer was lost".into() },
    ];
    let mut events = vec![
        AccessEvent::Submitted { envelope: (*envelope).clone(), decision: decision.clone() },
        AccessEvent::RefusedByPolicy { at: at(1), decision: answer(Outcome::Deny, "v2") },
        AccessEvent::Approved { approval },
        AccessEvent::ApprovalLapsed { approver: name("bob"), why: "no longer may approve".into(), at: at(1) },
        AccessEvent::Denied { at: at(1), by: name("bob"), comment: words("no"), evidence: evidence() },
        AccessEvent::Withdrawn { at: at(1), by: gateway("session"), why: Withdrawal::SessionEnded },
        AccessEvent::Lapsed { at: at(1) },
        AccessEvent::ApprovalsVoided { at: at(1), envelope: (*envelope).clone(), decision: decision.clone() },
        AccessEvent::Rejudged { at: at(1), decision: decision.clone() },
        AccessEvent::Granted { at: at(1), grant: envelope.access_request.grant(), decision, start: Start::Once { use_by: at(9) } },
        AccessEvent::Activated { at: at(1), until: at(9) },
        AccessEvent::Extended { at: at(1), until: at(99), by: AccessRequestId::from_bits(2) },
        AccessEvent::Applied { at: at(1) },
        AccessEvent::Released { at: at(1), by: name("alice") },
        AccessEvent::Revoked { at: at(1), by: person("bob"), reason: "stop\n\"now\"".into() },
        AccessEvent::Expired { at: at(1) },
        AccessEvent::Claimed { at: at(1) },
        AccessEvent::StopRequested { at: at(1), by: person("bob"), reason: "stop".into() },
        AccessEvent::Ended { at: at(1) },
    ];
    events.extend(outcomes.map(|outcome| AccessEvent::Settled { at: at(1), outcome }));
    events
}

fn proof() -> Retirement {
    Retirement { existed: true, ended: 1, cleared: vec!["orders".into()], probe: "28P01".into() }
}

fn session_events() -> Vec<SessionEvent> {
    let chunk = Chunk { number: 1, digest: Digest::of_bytes(b"chunk"), size_bytes: 4_096, records: 7, recovered: true };
    vec![
        SessionEvent::Opened {
            principal: name("alice"),
            resource: "orders-db".parse().unwrap(),
            database: "orders".into(),
            source: "127.0.0.1:5".into(),
            grants: vec![AccessRequestId::from_bits(1).grant()],
            at: at(0),
        },
        SessionEvent::GrantsJoined { grants: vec![AccessRequestId::from_bits(2).grant()], at: at(1) },
        SessionEvent::ActionRefused { why: "needs write".into(), at: at(1) },
        SessionEvent::ChunkSealed { chunk, at: at(2) },
        SessionEvent::RecordingLost { why: "the disk is gone".into(), at: at(3) },
        SessionEvent::CredentialIntended { role: "safeconduct_se-1".into(), bundle: Digest::of_bytes(b"b"), at: at(3) },
        SessionEvent::CredentialMinted { role: "safeconduct_se-1".into(), at: at(3) },
        SessionEvent::Closed { why: "grant expired".into(), statements: 12, at: at(4) },
        SessionEvent::CredentialRetired { role: "safeconduct_se-1".into(), proof: proof(), at: at(5) },
    ]
}

fn every_event() -> Vec<(StreamId, Event)> {
    let by = gateway("bootstrap");
    let who = || name("eve");
    let group = || "dba".parse().unwrap();
    let directory = [
        DirectoryEvent::PersonCreated { name: who(), display_name: "Eve".into(), at: at(0), by: by.clone() },
        DirectoryEvent::WorkloadCreated { name: who(), display_name: "Deployer".into(), at: at(0), by: by.clone() },
        DirectoryEvent::PrincipalDisabled { name: who(), at: at(0), by: by.clone() },
        DirectoryEvent::PrincipalEnabled { name: who(), at: at(0), by: by.clone() },
        DirectoryEvent::MemberAdded { group: group(), name: who(), at: at(0), by: by.clone() },
        DirectoryEvent::MemberRemoved { group: group(), name: who(), at: at(0), by: by.clone() },
        DirectoryEvent::SecretReset { name: who(), at: at(0), by: by.clone() },
        DirectoryEvent::KeyEnrolled { name: who(), key: "ssh-ed25519 AAAA".into(), at: at(0), by: by.clone() },
        DirectoryEvent::KeyRemoved { name: who(), key: "ssh-ed25519 AAAA".into(), at: at(0), by: by.clone() },
        DirectoryEvent::IdentityLinked {
            name: who(),
            issuer: "https://idp.example".into(),
            subject: "17".into(),
            at: at(0),
            by: by.clone(),
        },
        DirectoryEvent::IdentityUnlinked {
            name: who(),
            issuer: "https://idp.example".into(),
            subject: "17".into(),
            at: at(0),
            by: by.clone(),
        },
        DirectoryEvent::PersonDescribed {
            name: who(),
            description: PersonDescription {
                source: "corp".into(),
                user_name: "eve@example.com".into(),
                display_name: Some("Eve".into()),
                external_id: Some("00u17".into()),
                department: Some("Payments".into()),
                manager: Some("bob@example.com".into()),
                manager_name: Some("bob".parse().unwrap()),
                attributes: [(PersonAttribute::CostCenter, "4711".to_owned())].into(),
                removed: true,
            },
            at: at(0),
            by: by.clone(),
        },
        DirectoryEvent::GroupDescribed {
            group: group(),
            description: GroupDescription {
                source: "corp".into(),
                display_name: "Database admins".into(),
                external_id: Some("00g4".into()),
                removed: true,
            },
            at: at(0),
            by: by.clone(),
        },
    ];
    let sign_in = SignInId::from_bits(3);
    let sign_ins = [
        SignInEvent::SignedIn {
            sign_in: sign_in.clone(),
            name: who(),
            method: "password".into(),
            source: "::1".into(),
            at: at(0),
            vouched: None,
            scopes: None,
        },
        SignInEvent::SignedIn {
            sign_in: sign_in.clone(),
            name: who(),
            method: "token".into(),
            source: "issued".into(),
            at: at(0),
            vouched: None,
            scopes: Some("read ledger".parse().unwrap()),
        },
        SignInEvent::SignedIn {
            sign_in: sign_in.clone(),
            name: who(),
            method: "oidc".into(),
            source: "::1".into(),
            at: at(0),
            vouched: Some(Box::new(Vouched {
                provider: "corp".into(),
                issuer: "https://idp.example".into(),
                subject: "17".into(),
                session: Some("s".into()),
                authenticated_at: Some(at(-9)),
                methods: vec!["pwd".into()],
                claims: [("ref".to_owned(), safeconduct_model::Words::new("refs/heads/main").unwrap())].into(),
            })),
            scopes: None,
        },
        SignInEvent::SignedOut { sign_in, name: who(), by: by.clone(), at: at(0) },
        SignInEvent::SignInFailed { name: None, source: "::1".into(), at: at(0) },
        SignInEvent::PasswordChosen { name: who(), at: at(0) },
    ];
    let policy = [
        PolicyEvent::BundleApplied { hash: Digest::of_bytes(b"b"), by: by.clone(), standing_privilege: Some("one".into()), at: at(0) },
        PolicyEvent::RosterApplied { epoch: 3, digest: Digest::of_bytes(b"r"), at: at(0) },
    ];
    let node = [
        NodeEvent::Started { version: "0.1.0".into(), gateway: "test".into(), signing_page: Some(Digest::of_bytes(b"page")), at: at(0) },
        NodeEvent::Stopped { at: at(0) },
        NodeEvent::CrashFound { last_seen: at(-1), at: at(0) },
        NodeEvent::ClockBehind { seconds: 600, at: at(0) },
        NodeEvent::ClockConfirmed { by, at: at(0) },
        NodeEvent::RecordsLeftOut { what: LeftOut::FailedSignIns, count: 7, since: at(-60), at: at(0) },
        NodeEvent::RecordsLeftOut { what: LeftOut::DeniedAsks { principal: who() }, count: 1, since: at(-60), at: at(0) },
        NodeEvent::RecordingWithoutSession {
            session: SessionId::from_bits(4),
            chunks: Vec::new(),
            lost: Some("half a line".into()),
            at: at(0),
        },
        NodeEvent::UnknownRoles { resource: "orders-db".parse().unwrap(), roles: vec!["safeconduct_x".into()], at: at(0) },
    ];
    let access = StreamId::Access(AccessRequestId::from_bits(1));
    let session = StreamId::Session(SessionId::from_bits(1));
    let mut all: Vec<(StreamId, Event)> = Vec::new();
    all.extend(access_events().into_iter().map(|event| (access.clone(), event.into())));
    all.extend(session_events().into_iter().map(|event| (session.clone(), event.into())));
    all.extend(directory.into_iter().map(|event| (StreamId::Directory, event.into())));
    all.extend(sign_ins.into_iter().map(|event| (StreamId::SignIns, event.into())));
    all.extend(policy.map(|event| (StreamId::Policy, event.into())));
    all.extend(node.into_iter().map(|event| (StreamId::Node, event.into())));
    all
}

#[test]
fn every_event_reads_back_as_it_was() {
    for (stream, event) in every_event() {
        let body = event.to_body().unwrap();
        assert!(!body.contains('\n'), "one line: {body}");
        assert_eq!(Event::from_body(&stream, &body).unwrap(), event, "{body}");
        // Canonical bytes hold the same: the ledger commits to them.
        let canonical = safeconduct_model::canonical(&serde_json::from_str::<serde_json::Value>(&body).unwrap()).unwrap();
        assert_eq!(Event::from_body(&stream, std::str::from_utf8(&canonical).unwrap()).unwrap(), event);
    }
}

#[test]
fn an_approval_names_the_roster_it_was_signed_under_or_none() {
    let signed = |roster| Approval {
        approver: name("bob"),
        groups: std::collections::BTreeSet::new(),
        at: at(0),
        digest: Digest::of_bytes(b"e"),
        comment: None,
        evidence: safeconduct_lifecycle::Evidence::Signed {
            statement: "{}".into(),
            signature: "s".into(),
            roster,
            sign_in: SignInId::from_bits(3),
            source: "::1".into(),
        },
    };
    let stream = StreamId::Access(AccessRequestId::from_bits(1));
    for roster in [None, Some(Digest::of_bytes(b"r"))] {
        let event = Event::from(AccessEvent::Approved { approval: signed(roster) });
        let body = event.to_body().unwrap();
        assert_eq!(body.contains("roster"), roster.is_some(), "{body}");
        assert_eq!(Event::from_body(&stream, &body).unwrap(), event);
    }
}

#[test]
fn every_kind_of_event_has_a_name_of_its_own() {
    let all = every_event();
    let kinds: BTreeSet<&str> = all.iter().map(|(_, event)| event.kind()).collect();
    let listed_again = 3 + 1 + 2; // `action_settled` with four outcomes, `records_left_out` of two sorts, `signed_in` plain, by a provider, and narrowed.
    assert_eq!(kinds.len(), all.len() - listed_again);
    assert!(kinds.iter().all(|kind| kind.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')));
}

/// A page offers the kinds to search for from a list of its own.
#[test]
fn the_web_apps_list_names_every_kind() {
    let list = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../web/src/ledger/kinds.ts")).unwrap();
    let missing: Vec<_> =
        every_event().iter().map(|(_, event)| event.kind()).filter(|kind| !list.contains(&format!("\"{kind}\""))).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn a_body_that_is_no_event_of_its_stream_is_refused() {
    for body in ["", "{}", "null", r#"{"type":"unheard_of"}"#, r#"{"type":"lapsed"}"#, r#"{"type":"lapsed","at":"noon"}"#] {
        for (stream, _) in every_event() {
            assert!(Event::from_body(&stream, body).is_err(), "{stream}: {body}");
        }
    }
    let lapsed = Event::from(AccessEvent::Lapsed { at: at(0) }).to_body().unwrap();
    assert!(Event::from_body(&StreamId::Directory, &lapsed).is_err());
}

#[test]
fn streams_read_back_and_nothing_else_is_one() {
    let streams: BTreeSet<StreamId> = every_event().into_iter().map(|(stream, _)| stream).collect();
    assert_eq!(streams.len(), 6);
    for stream in streams {
        assert_eq!(stream.to_string().parse::<StreamId>().unwrap(), stream);
    }
    for bad in ["", "Directory", "rq-", "gr-000000000001", "directory ", "rq-00000000000U"] {
        assert!(bad.parse::<StreamId>().is_err(), "{bad}");
    }
}

#[test]
fn a_session_is_what_its_events_made_it() {
    let id = SessionId::from_bits(1);
    let events = session_events();
    let replayed = events.iter().fold(None::<Session>, |session, event| evolve_session(session, &id, event)).unwrap();
    assert_eq!((replayed.statements, replayed.chunks.len(), replayed.grants.len(), replayed.version), (12, 1, 2, 9));
    assert_eq!(replayed.closed, Some((at(4), "grant expired".to_owned())));
    assert_eq!(evolve_session(None, &id, events.last().unwrap()), None, "a session begins by being opened");
}

#[test]
fn f06_a_session_stays_open_until_its_role_is_proved_retired() {
    let id = SessionId::from_bits(1);
    let after = |count: usize| {
        let events = session_events();
        events.iter().take(count).fold(None::<Session>, |session, event| evolve_session(session, &id, event)).unwrap()
    };
    let (closed, retired) = (after(8), after(9));
    assert!(closed.closed.is_some() && closed.is_open() && closed.unretired().is_some());
    assert!(!retired.is_open() && retired.unretired().is_none());
    assert_eq!(retired.credential.unwrap().retired, Some(proof()));
    // A proof about another role proves nothing about this one.
    let other = SessionEvent::CredentialRetired { role: "safeconduct_se-2".into(), proof: proof(), at: at(5) };
    assert!(evolve_session(Some(closed), &id, &other).unwrap().is_open());
}
