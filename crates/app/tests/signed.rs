//! Approvals that take a signature: what counts, what is refused, and what somebody with the store's files can't make up.
//! Keys and signatures are made by the real `ssh-keygen`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::{fs, io::Write as _, path::PathBuf, process::Stdio};

use common::*;
use safeconduct_app::{
    AccessView, Problem, SignedStatement,
    ports::{Append, Store as _, ValueChange},
};
use safeconduct_evidence::{NAMESPACE, Statement, Verdict};
use safeconduct_lifecycle::{AccessEvent, AccessState, Approval, Evidence, Start, StreamId};
use safeconduct_model::{AccessRequestId, Change, Decision, Operation, Outcome, SignInId, Words};
use safeconduct_testkit::{parsed, ttl, words};
use tempfile::TempDir;

const WRITE: &[Operation] = &[Operation::Write];

/// A key in a file, as somebody would make one.
struct Key {
    _dir: TempDir,
    file: PathBuf,
    line: String,
}

impl Key {
    fn make() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("key");
        let made = std::process::Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&file).status().unwrap();
        assert!(made.success());
        let line = fs::read_to_string(file.with_extension("pub")).unwrap();
        let line = line.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
        Self { _dir: dir, file, line }
    }

    fn sign(&self, statement: &Statement) -> SignedStatement {
        let statement = statement.to_text().unwrap();
        let mut child = std::process::Command::new("ssh-keygen")
            .args(["-Y", "sign", "-n", NAMESPACE, "-f"])
            .arg(&self.file)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(statement.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        SignedStatement { statement, signature: String::from_utf8(output.stdout).unwrap() }
    }
}

/// The usual house, where writing takes signatures of this level.
async fn house(level: &str) -> House {
    let house = House::new().await;
    house.apply(bundle(&at_level(level))).await;
    house
}

fn at_level(level: &str) -> String {
    POLICY.replace("@id(\"write\")", &format!("@id(\"write\") @level(\"{level}\")"))
}

async fn enrol(house: &House, name: &str) -> Key {
    let key = Key::make();
    house.changed(Change::EnrolKey { name: parsed(name), key: key.line.clone() }).await;
    house.advance(1).await;
    key
}

fn about(house: &House, view: &AccessView, verdict: Verdict, who: &str) -> Statement {
    Statement::about(&view.access.envelope, verdict, parsed(who), None, house.app.now()).unwrap()
}

async fn approve(house: &House, who: &str, view: &AccessView, signed: SignedStatement) -> Result<AccessView, Problem> {
    let access = &view.access;
    house.app.approve(&house.caller(who), &access.envelope.access_request, access.digest, None, Some(signed)).await
}

#[tokio::test]
async fn an_approval_counts_with_its_givers_signature_and_is_kept_with_it() {
    let house = house("signed").await;
    let bob = enrol(&house, "bob").await;
    let view = house.window("alice", WRITE, 600).await.unwrap();
    assert_eq!(view.access.decision.obligations.level.name(), "signed");
    let unsigned = house.approve("bob", &view).await.unwrap_err();
    assert_eq!((unsigned.code, unsigned.next.as_deref().unwrap().contains("--key")), ("APPROVE-004", true), "{unsigned:?}");
    let signed = bob.sign(&about(&house, &view, Verdict::Approve, "bob"));
    let after = approve(&house, "bob", &view, signed.clone()).await.unwrap();
    assert!(matches!(after.access.state, AccessState::Active { .. }));
    let Evidence::Signed { statement, signature, .. } = &after.access.approvals[0].evidence else { panic!() };
    assert_eq!((statement, signature), (&signed.statement, &signed.signature), "as they came");
    assert_eq!(permitted(&house.open("alice").await, "update orders set total = 1"), after.access.grant());
    // What policy asks no signature for takes none, and may have one.
    let exact = house.exact("alice", "create table t ()").await.unwrap();
    house.approve("erin", &exact).await.unwrap();
    approve(&house, "bob", &exact, bob.sign(&about(&house, &exact, Verdict::Approve, "bob"))).await.unwrap();
}

#[tokio::test]
async fn f54_a_signature_that_is_not_exactly_this_approval_counts_for_nothing() {
    let house = house("signed").await;
    let bob = enrol(&house, "bob").await;
    let dora = enrol(&house, "dora").await;
    let view = house.window("alice", WRITE, 600).await.unwrap();
    let other = house.window("erin", WRITE, 600).await.unwrap();
    house.advance(1).await;
    let late_key = enrol(&house, "bob").await;
    let stranger = Key::make();
    let yes = || about(&house, &view, Verdict::Approve, "bob");
    let mut flipped = bob.sign(&yes());
    flipped.signature = flipped.signature.replacen('A', "B", 1);
    let mut other_bytes = bob.sign(&yes());
    other_bytes.statement = other_bytes.statement.replacen("\"approve\"", "\"approve\" ", 1);
    let old = Statement { signed_at: house.app.now().plus_seconds(-301), ..yes() };
    let ahead = Statement { signed_at: house.app.now().plus_seconds(301), ..yes() };
    let attempts = [
        ("moved from another access request", "bob", bob.sign(&about(&house, &other, Verdict::Approve, "bob"))),
        ("a denial", "bob", bob.sign(&about(&house, &view, Verdict::Deny, "bob"))),
        ("somebody else's", "dora", bob.sign(&yes())),
        ("somebody else's key", "bob", dora.sign(&yes())),
        ("a key nobody enrolled", "bob", stranger.sign(&yes())),
        ("a key enrolled after the asking", "bob", late_key.sign(&yes())),
        ("old", "bob", bob.sign(&old)),
        ("ahead of its time", "bob", bob.sign(&ahead)),
        ("one bit", "bob", flipped),
        ("one space", "bob", other_bytes),
    ];
    for (why, who, signed) in attempts {
        let refused = approve(&house, who, &view, signed).await.unwrap_err();
        assert_eq!(refused.code, "APPROVE-005", "{why}: {refused:?}");
        assert!(refused.why.is_some_and(|reason| !reason.is_empty()), "{why}");
    }
    // The comment is part of what is signed.
    let said = Statement { comment: Some(words("as agreed")), ..yes() };
    let access = &view.access.envelope.access_request;
    let silent = house.app.approve(&house.caller("bob"), access, view.access.digest, None, Some(bob.sign(&said))).await;
    assert_eq!(silent.unwrap_err().code, "REQ-001");
    // Replayed: asked again, it is another access request.
    let signed = bob.sign(&yes());
    approve(&house, "bob", &view, signed.clone()).await.unwrap();
    house.app.release(&house.caller("alice"), &view.access.grant()).await.unwrap();
    let again = house.window("alice", WRITE, 600).await.unwrap();
    assert_eq!(approve(&house, "bob", &again, signed).await.unwrap_err().code, "APPROVE-005");
}

#[tokio::test]
async fn f23_who_may_not_approve_may_not_with_a_key_either() {
    let house = house("signed").await;
    let (alice, carol) = (enrol(&house, "alice").await, enrol(&house, "carol").await);
    let view = house.window("alice", WRITE, 600).await.unwrap();
    for (who, key, code) in [("alice", &alice, "APPROVE-001"), ("carol", &carol, "APPROVE-002")] {
        let refused = approve(&house, who, &view, key.sign(&about(&house, &view, Verdict::Approve, who))).await.unwrap_err();
        assert_eq!(refused.code, code);
    }
    let key = Key::make();
    for (name, why) in [("deployer", "only people approve"), ("nobody", "there is no")] {
        let refused = house.change("ann", Change::EnrolKey { name: parsed(name), key: key.line.clone() }).await.unwrap_err();
        assert!(refused.why.as_deref().unwrap().contains(why), "{refused:?}");
    }
    let twice = house.change("ann", Change::EnrolKey { name: parsed("bob"), key: carol.line.clone() }).await.unwrap_err();
    assert!(twice.why.unwrap().contains("carol"), "one key is one person's");
    // A line with a comment is another text for the same key.
    let named = Change::EnrolKey { name: parsed("bob"), key: format!("{} bob@laptop", key.line) };
    assert_eq!(house.change("ann", named).await.unwrap_err().code, "ADMIN-001");
}

#[tokio::test]
async fn f29_a_key_that_is_removed_takes_what_it_approved_along() {
    let house = house("signed").await;
    let bob = enrol(&house, "bob").await;
    let view = house.window("alice", WRITE, 1800).await.unwrap();
    approve(&house, "bob", &view, bob.sign(&about(&house, &view, Verdict::Approve, "bob"))).await.unwrap();
    let session = house.open("alice").await;
    house.changed(Change::RemoveKey { name: parsed("bob"), key: bob.line.clone() }).await;
    assert!(ended(&session).is_some());
    assert_eq!(house.state(&view.access.envelope.access_request).await.name(), "revoked");
}

#[tokio::test]
async fn a_passkey_is_not_a_key_in_a_file() {
    let house = house("passkey").await;
    let bob = enrol(&house, "bob").await;
    let view = house.window("alice", WRITE, 600).await.unwrap();
    let refused = approve(&house, "bob", &view, bob.sign(&about(&house, &view, Verdict::Approve, "bob"))).await.unwrap_err();
    assert!(refused.code == "APPROVE-005" && refused.why.unwrap().contains("passkey"));
    // Saying no takes no key, and may be signed with any.
    let comment = words("no");
    let denial = Statement { comment: Some(comment.clone()), ..about(&house, &view, Verdict::Deny, "bob") };
    let id = &view.access.envelope.access_request;
    let wrong = house.app.deny(&house.caller("bob"), id, words("no."), Some(bob.sign(&denial))).await.unwrap_err();
    assert_eq!(wrong.code, "REQ-001");
    house.app.deny(&house.caller("bob"), id, comment, Some(bob.sign(&denial))).await.unwrap();
    assert_eq!(house.state(id).await.name(), "denied");
}

#[tokio::test]
async fn what_was_signed_for_is_not_made_longer() {
    let house = house("signed").await;
    let bob = enrol(&house, "bob").await;
    let view = house.window("alice", WRITE, 600).await.unwrap();
    approve(&house, "bob", &view, bob.sign(&about(&house, &view, Verdict::Approve, "bob"))).await.unwrap();
    let refused = house.app.extend(&house.caller("alice"), &view.access.grant(), ttl(600), words("more")).await.unwrap_err();
    assert_eq!(refused.code, "GRANT-005");
}

#[tokio::test]
async fn a_policy_that_begins_to_ask_for_signatures_ends_what_has_none() {
    let house = House::new().await;
    let grant = house.grant("alice", WRITE, 1800).await;
    let session = house.open("alice").await;
    house.apply(bundle(&at_level("signed"))).await;
    assert!(ended(&session).is_some());
    assert_eq!(house.state(&grant.access_request()).await.name(), "revoked");
}

/// Writes to the store as somebody with its files would, and starts the gateway again.
async fn forged(house: House, id: &AccessRequestId, events: Vec<AccessEvent>) -> House {
    let stream = StreamId::Access(id.clone());
    let expected = house.store.load(stream.clone()).await.unwrap().len() as u64;
    let events = events.into_iter().map(Into::into).collect();
    house.store.append(vec![Append { stream, expected, events, row: None }], house.app.now()).await.unwrap();
    house.crash().await
}

fn approved(view: &AccessView, evidence: Evidence) -> Vec<AccessEvent> {
    let (at, envelope) = (view.access.envelope.asked_at.plus_seconds(2), &view.access.envelope);
    let decision = Decision { outcome: Outcome::Allow, ..view.access.decision.clone() };
    vec![
        AccessEvent::Approved {
            approval: Approval {
                approver: parsed("bob"),
                groups: [parsed("dba")].into(),
                at,
                digest: view.access.digest,
                comment: None::<Words>,
                evidence,
            },
        },
        AccessEvent::Granted { at, grant: envelope.access_request.grant(), decision, start: Start::Now },
        AccessEvent::Activated { at, until: at.after(envelope.duration) },
    ]
}

#[tokio::test]
async fn f54_what_somebody_wrote_into_the_store_as_approved_is_taken_back_at_the_next_start() {
    let of_sign_in =
        || Evidence::SignIn { sign_in: SignInId::from_bits(7), method: "password".into(), source: "127.0.0.1".into(), signed_in_at: at(0) };
    // Where policy asks for no signature, the record is believed: that is what the level says.
    let house = House::new().await;
    let view = house.window("alice", WRITE, 600).await.unwrap();
    let house = forged(house, &view.access.envelope.access_request, approved(&view, of_sign_in())).await;
    assert_eq!(house.state(&view.access.envelope.access_request).await.name(), "active");

    for attack in ["no signature", "another request's signature", "a key of nobody's", "said by somebody else"] {
        let house = self::house("signed").await;
        let (bob, carol) = (enrol(&house, "bob").await, enrol(&house, "carol").await);
        let other = house.window("erin", WRITE, 600).await.unwrap();
        let view = house.window("alice", WRITE, 600).await.unwrap();
        let signed = match attack {
            "no signature" => None,
            "another request's signature" => Some(bob.sign(&about(&house, &other, Verdict::Approve, "bob"))),
            "a key of nobody's" => Some(Key::make().sign(&about(&house, &view, Verdict::Approve, "bob"))),
            _ => Some(carol.sign(&about(&house, &view, Verdict::Approve, "carol"))),
        };
        let evidence = signed.map_or_else(of_sign_in, |SignedStatement { statement, signature }| Evidence::Signed {
            statement,
            signature,
            roster: None,
            sign_in: SignInId::from_bits(7),
            source: "127.0.0.1".into(),
        });
        let id = view.access.envelope.access_request.clone();
        let house = forged(house, &id, approved(&view, evidence)).await;
        let AccessState::Revoked { reason, .. } = house.state(&id).await else { panic!("{attack}") };
        assert!(reason.contains("not proved") && reason.contains("bob"), "{attack}: {reason}");
        assert!(house.try_open("alice").await.is_err(), "{attack}");
    }
}

#[tokio::test]
async fn f11_a_deadline_that_somebody_moved_in_the_store_ends_the_right() {
    let house = house("signed").await;
    let bob = enrol(&house, "bob").await;
    let view = house.window("alice", WRITE, 600).await.unwrap();
    approve(&house, "bob", &view, bob.sign(&about(&house, &view, Verdict::Approve, "bob"))).await.unwrap();
    let id = view.access.envelope.access_request.clone();
    let house = house.crash().await;
    assert_eq!(house.state(&id).await.name(), "active", "what was signed for goes on");
    let extended = AccessEvent::Extended { at: house.app.now(), until: house.app.now().plus_seconds(86_400), by: id.clone() };
    let house = forged(house, &id, vec![extended]).await;
    assert_eq!(house.state(&id).await.name(), "revoked");
}

mod passkeys {
    use safeconduct_app::{PasskeyAnswer, SignedIn};
    use safeconduct_testkit::signers::{BOTH, Passkey, Said};

    use super::*;

    const OURS: Said<'static> = Said { origin: "https://gateway.test", rest: ",\"crossOrigin\":false}", flags: BOTH };
    const SIGN_IN: &str = "safeconduct-sign-in@v1";

    fn answer(passkey: &Passkey, challenge: &str, name: &str, said: &Said<'_>, namespace: &str) -> PasskeyAnswer {
        let (authenticator_data, client_data, signature) = passkey.answer(namespace, challenge, said);
        PasskeyAnswer { challenge: challenge.to_owned(), name: name.to_owned(), authenticator_data, client_data, signature }
    }

    async fn enrolled(house: &House, name: &str) -> Passkey {
        let passkey = Passkey::at("gateway.test");
        house.changed(Change::EnrolKey { name: parsed(name), key: passkey.public().to_string() }).await;
        house.advance(1).await;
        passkey
    }

    async fn sign_in(house: &House, answer: PasskeyAnswer) -> Result<SignedIn, Problem> {
        house.app.sign_in_with_passkey(answer, "127.0.0.1").await
    }

    #[tokio::test]
    async fn a_passkey_signs_its_person_in_once_for_each_challenge() {
        let house = House::new().await;
        let bob = enrolled(&house, "bob").await;
        let challenge = house.app.passkey_challenge().unwrap();
        let right = answer(&bob, &challenge, "bob", &OURS, SIGN_IN);
        let signed_in = sign_in(&house, right.clone()).await.unwrap();
        let caller = house.app.authenticate(&signed_in.token, "", safeconduct_app::Reach::EVERY_TOKEN).await.unwrap();
        assert_eq!((caller.name.as_str(), caller.method.as_str()), ("bob", "passkey"));
        assert_eq!(sign_in(&house, right).await.unwrap_err().code, "SIGN-008", "replayed");
    }

    #[tokio::test]
    async fn f16_a_passkey_that_is_not_exactly_right_gets_one_answer() {
        let house = House::new().await;
        let (bob, dora) = (enrolled(&house, "bob").await, enrolled(&house, "dora").await);
        let other_site = Passkey::at("evil.example");
        house.changed(Change::EnrolKey { name: parsed("bob"), key: other_site.public().to_string() }).await;
        let old = house.app.passkey_challenge().unwrap();
        house.advance(121).await;
        let challenge = house.app.passkey_challenge().unwrap();
        let (ends, rest) = challenge.split_once('.').unwrap();
        let longer = format!("{}.{rest}", ends.parse::<i64>().unwrap() + 600_000_000);
        let with = |passkey: &Passkey, challenge: &str, name: &str, said: Said<'_>| answer(passkey, challenge, name, &said, SIGN_IN);
        let mut flipped = with(&bob, &challenge, "bob", OURS);
        flipped.signature[9] ^= 1;
        let mut short = with(&bob, &challenge, "bob", OURS);
        short.authenticator_data.truncate(36);
        let attempts = [
            ("somebody else's name", with(&bob, &challenge, "dora", OURS)),
            ("nobody's name", with(&bob, &challenge, "nobody", OURS)),
            ("no name at all", with(&bob, &challenge, "", OURS)),
            ("somebody else's key", with(&dora, &challenge, "bob", OURS)),
            ("a key nobody enrolled", with(&Passkey::at("gateway.test"), &challenge, "bob", OURS)),
            ("another site's key", with(&other_site, &challenge, "bob", OURS)),
            ("another site's page", with(&bob, &challenge, "bob", Said { origin: "https://evil.example", ..OURS })),
            ("a framed page", with(&bob, &challenge, "bob", Said { rest: ",\"crossOrigin\":true}", ..OURS })),
            ("nobody checked", with(&bob, &challenge, "bob", Said { flags: 0x01, ..OURS })),
            ("nobody there", with(&bob, &challenge, "bob", Said { flags: 0x04, ..OURS })),
            ("an old challenge", with(&bob, &old, "bob", OURS)),
            ("a challenge made longer", with(&bob, &longer, "bob", OURS)),
            ("a challenge of one's own", with(&bob, "1.2.3", "bob", OURS)),
            ("a signature for approvals", answer(&bob, &challenge, "bob", &OURS, NAMESPACE)),
            ("one bit", flipped),
            ("too short", short),
        ];
        let mut answers = Vec::new();
        for (why, attempt) in attempts {
            let refused = sign_in(&house, attempt).await.err().unwrap_or_else(|| panic!("{why} signed in"));
            assert_eq!(refused.code, "SIGN-008", "{why}");
            answers.push(refused);
        }
        assert!(answers.windows(2).all(|two| two[0] == two[1]), "one answer for all");
        house.changed(Change::Disable { name: parsed("bob") }).await;
        assert!(sign_in(&house, with(&bob, &challenge, "bob", OURS)).await.is_err(), "disabled");
        house.changed(Change::Enable { name: parsed("bob") }).await;
        assert!(sign_in(&house, with(&bob, &challenge, "bob", OURS)).await.is_err(), "what was taken away does not come back");
        house.changed(Change::RemoveKey { name: parsed("dora"), key: dora.public().to_string() }).await;
        assert!(sign_in(&house, with(&dora, &challenge, "dora", OURS)).await.is_err(), "removed");
    }

    #[tokio::test]
    async fn f27_what_one_person_began_another_does_not_finish() {
        let house = House::new().await;
        let (bob, dora) = (enrolled(&house, "bob").await, enrolled(&house, "dora").await);
        let sign_ins = async |name: &str| house.app.tokens(&house.caller("ann"), &parsed(name)).await.unwrap().len();
        // Bob's first try is half of one: his authenticator was touched, and did not check whose hand it was.
        let challenge = house.app.passkey_challenge().unwrap();
        let half = answer(&bob, &challenge, "bob", &Said { flags: 0x01, ..OURS }, SIGN_IN);
        assert_eq!(sign_in(&house, half.clone()).await.unwrap_err().code, "SIGN-008");
        assert_eq!((sign_ins("bob").await, sign_ins("dora").await), (0, 0));
        // Whoever goes on with his challenge is who they are themselves: nothing of the first half is left.
        let whole = answer(&dora, &challenge, "dora", &OURS, SIGN_IN);
        let mut mixed = whole.clone();
        mixed.name = "bob".to_owned();
        assert_eq!(sign_in(&house, mixed).await.unwrap_err().code, "SIGN-008", "her answer in his name");
        let mut mixed = half;
        mixed.signature = whole.signature;
        assert_eq!(sign_in(&house, mixed).await.unwrap_err().code, "SIGN-008", "her signature in his answer");
        assert_eq!(sign_in(&house, whole).await.unwrap().caller.name.as_str(), "dora");
        assert_eq!((sign_ins("bob").await, sign_ins("dora").await), (0, 1));
        let late = answer(&bob, &challenge, "bob", &OURS, SIGN_IN);
        assert_eq!(sign_in(&house, late).await.unwrap_err().code, "SIGN-008", "and what she finished is over for him");
    }

    #[tokio::test]
    async fn f27_a_sign_in_by_passkey_is_no_signature_and_half_a_signature_is_none() {
        let house = super::house("passkey").await;
        let bob = enrolled(&house, "bob").await;
        let challenge = house.app.passkey_challenge().unwrap();
        let by_passkey = sign_in(&house, answer(&bob, &challenge, "bob", &OURS, SIGN_IN)).await.unwrap().caller;
        let view = house.window("alice", WRITE, 600).await.unwrap();
        let id = &view.access.envelope.access_request;
        let unsigned = house.app.approve(&by_passkey, id, view.access.digest, None, None).await;
        assert_eq!(unsigned.unwrap_err().code, "APPROVE-004", "it was a sign-in, not an approval");
        let statement = about(&house, &view, Verdict::Approve, "bob").to_text().unwrap();
        let half = SignedStatement { statement: statement.clone(), signature: bob.sign(&statement, &Said { flags: 0x01, ..OURS }) };
        assert!(house.app.approve(&by_passkey, id, view.access.digest, None, Some(half)).await.is_err());
        let unsigned = house.app.approve(&by_passkey, id, view.access.digest, None, None).await;
        assert_eq!(unsigned.unwrap_err().code, "APPROVE-004", "half of one leaves nothing behind");
        assert_eq!(house.state(id).await, AccessState::Pending);
    }

    #[tokio::test]
    async fn a_passkey_of_our_page_approves_at_every_level_and_a_sign_in_is_no_approval() {
        let house = super::house("passkey").await;
        let bob = enrolled(&house, "bob").await;
        let view = house.window("alice", WRITE, 600).await.unwrap();
        let statement = about(&house, &view, Verdict::Approve, "bob").to_text().unwrap();
        let signed = |said: Said<'_>| SignedStatement { statement: statement.clone(), signature: bob.sign(&statement, &said) };
        for (why, said) in [
            ("user verification flag 0", Said { flags: 0x01, ..OURS }),
            ("foreign origin", Said { origin: "https://evil.example", ..OURS }),
            ("crossOrigin true", Said { rest: ",\"crossOrigin\":true}", ..OURS }),
        ] {
            assert_eq!(approve(&house, "bob", &view, signed(said)).await.unwrap_err().code, "APPROVE-005", "{why}");
        }
        approve(&house, "bob", &view, signed(OURS)).await.unwrap();
        assert_eq!(house.state(&view.access.envelope.access_request).await.name(), "active");
    }
}

mod rosters {
    use safeconduct_app::{SignedRoster, StartError};
    use safeconduct_evidence::{Member, ROSTER_NAMESPACE, Roots, Roster};
    use safeconduct_lifecycle::{Actor, DirectoryEvent};
    use safeconduct_model::{Digest, Timestamp};
    use safeconduct_testkit::signers::FileKey;

    use super::*;

    const ROOTS: [u8; 3] = [101, 102, 103];

    fn key_of(name: &str) -> FileKey {
        FileKey::of(name.as_bytes()[0])
    }

    fn sealed(roster: &Roster, seeds: &[u8]) -> SignedRoster {
        let text = roster.to_text().unwrap();
        let signatures = seeds.iter().map(|seed| FileKey::of(*seed).sign_for(ROSTER_NAMESPACE, &text)).collect();
        let roots = Roots { keys: ROOTS.map(|seed| FileKey::of(seed).public()).into(), needed: 2 };
        SignedRoster { roots, text, signatures, highest_epoch: 0 }
    }

    async fn roster(house: &House, epoch: u64, people: &[(&str, &str)]) -> Roster {
        let policy = house.app.status().await.policy;
        let member = |(name, group): &(&str, &str)| {
            let member = Member { groups: [parsed(group)].into(), keys: [key_of(name).public().to_string()].into(), manager: None };
            (parsed(name), member)
        };
        Roster { v: 1, gateway: "test".into(), epoch, policies: [policy].into(), people: people.iter().map(member).collect() }
    }

    /// bob and dora sign, as the roster says that two of the three root keys signed.
    async fn house() -> House {
        let house = super::house("signed").await;
        for name in ["bob", "dora", "mallory"] {
            house.changed(Change::EnrolKey { name: parsed(name), key: key_of(name).public().to_string() }).await;
        }
        house.advance(1).await;
        let roster = roster(&house, 3, &[("bob", "dba"), ("dora", "dba")]).await;
        house.with_roster(sealed(&roster, &ROOTS[..2])).await.unwrap()
    }

    fn signed_by(house: &House, view: &AccessView, who: &str) -> SignedStatement {
        let statement = about(house, view, Verdict::Approve, who).to_text().unwrap();
        let signature = key_of(who).sign(&statement);
        SignedStatement { statement, signature }
    }

    /// Writes to the directory as somebody with the store's files would; the gateway starts with what it had.
    async fn directory_forged(house: House, events: Vec<DirectoryEvent>, roster: SignedRoster) -> House {
        let expected = house.store.load(StreamId::Directory).await.unwrap().len() as u64;
        let events = events.into_iter().map(Into::into).collect();
        let append = Append { stream: StreamId::Directory, expected, events, row: None };
        house.store.append(vec![append], house.app.now()).await.unwrap();
        house.with_roster(roster).await.unwrap()
    }

    #[tokio::test]
    async fn f54_a_key_or_group_that_the_store_alone_vouches_for_counts_for_nothing() {
        let house = house().await;
        let sealed = sealed(&roster(&house, 3, &[("bob", "dba"), ("dora", "dba")]).await, &ROOTS[1..]);
        let (at, by) = (Timestamp::default(), Actor::Gateway { cause: "nobody".into() });
        let forged = vec![
            DirectoryEvent::MemberAdded { group: parsed("dba"), name: parsed("mallory"), at, by: by.clone() },
            DirectoryEvent::KeyEnrolled { name: parsed("bob"), key: FileKey::of(77).public().to_string(), at, by },
        ];
        let house = directory_forged(house, forged, sealed).await;
        let view = house.window("alice", WRITE, 600).await.unwrap();
        assert!(!view.eligible.contains(&parsed("mallory")), "{:?}", view.eligible);
        let refused = approve(&house, "mallory", &view, signed_by(&house, &view, "mallory")).await.unwrap_err();
        assert_eq!(refused.code, "REQ-008", "she may not even see it");
        let statement = about(&house, &view, Verdict::Approve, "bob").to_text().unwrap();
        let signature = FileKey::of(77).sign(&statement);
        assert_eq!(approve(&house, "bob", &view, SignedStatement { statement, signature }).await.unwrap_err().code, "APPROVE-005");
        approve(&house, "bob", &view, signed_by(&house, &view, "bob")).await.unwrap();
        assert_eq!(house.state(&view.access.envelope.access_request).await.name(), "active");
    }

    #[tokio::test]
    async fn f54_where_a_roster_says_who_signs_it_alone_says_whose_manager_they_are() {
        use safeconduct_lifecycle::PersonDescription;
        let house = house().await;
        let managers = "\n@id(\"by-manager\") permit (principal is Person, action == Action::\"approve\", resource in Resource::\"orders-db\")\
                        \nwhen { resource has requester_manager && principal == resource.requester_manager };";
        house.apply(bundle(&format!("{}{managers}", at_level("signed")))).await;
        let mut signed = roster(&house, 3, &[("bob", "dba"), ("dora", "dba"), ("mallory", "engineers"), ("erin", "engineers")]).await;
        let alice = Member { manager: Some(parsed("erin")), ..Member::default() };
        signed.people.insert(parsed("alice"), alice);
        let forged = DirectoryEvent::PersonDescribed {
            name: parsed("alice"),
            description: PersonDescription {
                source: "corp".into(),
                user_name: "alice".into(),
                display_name: None,
                external_id: None,
                department: None,
                manager: Some("mallory".into()),
                manager_name: Some(parsed("mallory")),
                attributes: std::collections::BTreeMap::new(),
                removed: false,
            },
            at: Timestamp::default(),
            by: Actor::Gateway { cause: "nobody".into() },
        };
        let house = directory_forged(house, vec![forged], sealed(&signed, &ROOTS[..2])).await;
        let view = house.window("alice", WRITE, 600).await.unwrap();
        assert_eq!(view.eligible, ["bob", "dora", "erin"].map(parsed), "and not mallory");
    }

    #[tokio::test]
    async fn f54_the_roster_an_approval_was_given_under_is_handed_out_as_it_was_signed() {
        let house = house().await;
        let auditor = house.caller("carol");
        let view = house.window("alice", WRITE, 1800).await.unwrap();
        let id = view.access.envelope.access_request.clone();
        approve(&house, "bob", &view, signed_by(&house, &view, "bob")).await.unwrap();
        let then = sealed(&roster(&house, 3, &[("bob", "dba"), ("dora", "dba")]).await, &ROOTS[..2]);
        // Later ones are beside the matter, and so is a start.
        let newer = sealed(&roster(&house, 4, &[("bob", "dba")]).await, &ROOTS);
        house.app.apply_roster(&newer).await.unwrap();
        let house = house.with_roster(newer).await.unwrap();
        let shown = house.app.rosters_of(&auditor, &id).await.unwrap();
        let [one] = &shown[..] else { panic!("{shown:?}") };
        assert_eq!((one.epoch, &one.text, &one.signatures), (3, &then.text, &then.signatures));
        let Evidence::Signed { roster: named, .. } = &house.app.access(&auditor, &id).await.unwrap().access.approvals[0].evidence else {
            panic!()
        };
        assert_eq!(*named, Some(one.digest));
        let plain = house.window("alice", &[Operation::Read], 600).await.unwrap();
        assert!(house.app.rosters_of(&auditor, &plain.access.envelope.access_request).await.unwrap().is_empty(), "nobody signed");

        for (value, why) in [(Some(r#"{"text":"{}","signatures":""}"#), "another text"), (Some("{"), "can't be read"), (None, "not kept")] {
            let change =
                ValueChange { kind: "roster".into(), key: one.digest.to_string(), value: value.map(|text| text.as_bytes().to_vec()) };
            house.store.put_values(vec![change]).await.unwrap();
            let problem = house.app.rosters_of(&auditor, &id).await.unwrap_err();
            assert!(problem.code == "ROSTER-002" && problem.why.as_deref().is_some_and(|said| said.contains(why)), "{problem:?}");
        }
    }

    #[tokio::test]
    async fn f54_a_roster_is_not_rolled_back_by_a_start_or_a_reload() {
        let house = house().await;
        let old = sealed(&roster(&house, 3, &[("bob", "dba"), ("dora", "dba")]).await, &ROOTS[..2]);
        let newer = roster(&house, 4, &[("dora", "dba")]).await;
        let view = house.window("alice", WRITE, 1800).await.unwrap();
        approve(&house, "bob", &view, signed_by(&house, &view, "bob")).await.unwrap();
        let session = house.open("alice").await;
        let few = house.app.apply_roster(&sealed(&newer, &ROOTS[..1])).await.unwrap_err();
        assert_eq!((few.code, few.why.as_deref()), ("ROSTER-001", Some("1 of the root keys signed it, 2 must")));
        assert_eq!(house.app.apply_roster(&sealed(&newer, &ROOTS[..2])).await.unwrap(), 4);
        assert!(ended(&session).is_some(), "bob's signature counts no longer");
        assert_eq!(house.app.apply_roster(&old).await.unwrap_err().code, "ROSTER-001");
        drop(session);
        let refused = house.with_roster(old).await.err().unwrap();
        assert!(matches!(refused, StartError::Roster(_)), "{refused}: the ledger knows that 4 was in force");
    }

    #[tokio::test]
    async fn f54_a_roster_that_is_remembered_outside_of_the_store_is_not_rolled_back_with_it() {
        let house = super::house("signed").await;
        let signed = sealed(&roster(&house, 3, &[("bob", "dba")]).await, &ROOTS);
        let refused = house.with_roster(SignedRoster { highest_epoch: 4, ..signed }).await.err().unwrap();
        assert!(matches!(refused, StartError::Roster(_)));
    }

    #[tokio::test]
    async fn f54_a_policy_that_no_root_signed_gives_nothing_to_anybody() {
        let house = house().await;
        let grant = house.grant("alice", &[Operation::Read], 1800).await;
        let session = house.open("alice").await;
        assert_eq!(permitted(&session, "select 1"), grant);
        house.apply(bundle(&at_level("recorded"))).await;
        assert!(ended(&session).is_some(), "even what asked for no signature");
        assert_eq!(house.window("alice", &[Operation::Read], 600).await.unwrap_err().code, "RES-001");
        // The policy that was signed comes back the way it went.
        house.apply(bundle(&at_level("signed"))).await;
        house.grant("alice", &[Operation::Read], 600).await;
        let unsigned = Digest::of_bytes(b"another");
        let other = Roster { policies: [unsigned].into(), ..roster(&house, 5, &[("bob", "dba")]).await };
        let session = house.open("alice").await;
        house.app.apply_roster(&sealed(&other, &ROOTS)).await.unwrap();
        assert!(ended(&session).is_some());
    }
}
