//! Receipts: what an application's ledger proves about one access request, and everything somebody could do to the file.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test that can't go on stops")]

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use safeconduct_api::dto;
use safeconduct_app::{
    AccessView, App, AskedFor, Caller, DoorAddress, NewAccessRequest, Person, Ports, Settings, SignedRoster, SignedStatement,
    ports::{Append, Store as _},
};
use safeconduct_evidence::{Member, ROSTER_NAMESPACE, Roots, Roster, Statement, Verdict};
use safeconduct_ledger::{SignerKey, VerifierKey};
use safeconduct_lifecycle::{AccessEvent, Approval, DirectoryEvent, Event, Evidence, PolicyEvent, StreamId};
use safeconduct_model::{Change, Digest, MintingKey, PrincipalKind, SignInId};
use safeconduct_policy::BundleFiles;
use safeconduct_testkit::{MemoryRecorder, MemoryStore, TestClock, TestEntropy, TestSigner, parsed, signers::FileKey, ttl, words};
use safeconduct_verify::{Proved, Receipt, ReceiptEntry, ReceiptRoster};

const ORIGIN: &str = "test.example/ledger";
/// Seeds of the root keys; two of them sign.
const ROOTS: [u8; 3] = [101, 102, 103];

struct Gateway {
    app: App,
    store: Arc<MemoryStore>,
    clock: Arc<TestClock>,
    key: VerifierKey,
    bob: FileKey,
}

impl Gateway {
    async fn start() -> Self {
        let clock = Arc::new(TestClock::default());
        let signer = || SignerKey::from_seed(ORIGIN, &[7; 32]).unwrap();
        let store = Arc::new(MemoryStore::new());
        let ports = Ports {
            store: store.clone(),
            recorder: Arc::new(MemoryRecorder::new()),
            clock: clock.clone(),
            entropy: Arc::new(TestEntropy::seeded(1)),
            signer: Arc::new(TestSigner(signer())),
        };
        let settings = Settings {
            gateway: "test".into(),
            public_url: "https://gateway.test".into(),
            door: DoorAddress { host: "127.0.0.1".into(), port: 6432, ca_pem: String::new() },
            pending: ttl(3600),
            pending_per_principal: 50,
            sign_in: ttl(3600),
            sign_in_idle: ttl(3600),
            token_days: 30,
            bundle_watched: false,
            signing_page: None,
            roster: None,
        };
        let app = App::start(ports, settings, MintingKey::make()).await.unwrap();
        let person = |(name, group): (&str, &str)| Person {
            name: parsed(name),
            display_name: name.to_owned(),
            groups: vec![parsed(group)],
            password: None,
            workload: false,
        };
        let people = [("alice", "engineers"), ("bob", "dba"), ("carol", "auditors"), ("ann", "administrators"), ("abe", "administrators")];
        app.operator_people(people.map(person).into()).await.unwrap();
        let demo = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../demo/bundle");
        let mut files = BTreeMap::new();
        for folder in ["resources", "policies"] {
            for entry in std::fs::read_dir(demo.join(folder)).unwrap() {
                let entry = entry.unwrap();
                files.insert(format!("{folder}/{}", entry.file_name().to_string_lossy()), std::fs::read(entry.path()).unwrap());
            }
        }
        app.operator_policy(&BundleFiles { files }).await.unwrap();
        clock.advance(Duration::from_secs(1));
        let key = VerifierKey::parse(&app.ledger_key()).unwrap();
        let gateway = Self { app, store, clock, key, bob: FileKey::of(3) };
        let change = Change::EnrolKey { name: parsed("bob"), key: gateway.bob.public().to_string() };
        let asked = gateway.app.change(&gateway.caller("ann"), change, words("a laptop")).await.unwrap();
        gateway.approve("abe", &asked, None).await;
        gateway.clock.advance(Duration::from_secs(1));
        gateway
    }

    fn caller(&self, name: &str) -> Caller {
        Caller {
            name: parsed(name),
            kind: PrincipalKind::Person,
            sign_in: SignInId::from_bits(1),
            method: "password".into(),
            source: "127.0.0.1".into(),
            signed_in_at: self.app.now(),
            authenticated_at: Some(self.app.now()),
            claims: std::collections::BTreeMap::new(),
            scopes: None,
        }
    }

    async fn asked(&self, sql: &str) -> AccessView {
        let what = AskedFor::ExactSql { database: None, text: sql.to_owned() };
        let (resource, reason) = (parsed("orders-db"), words("a test"));
        let ask = NewAccessRequest { resource, what, reason, ticket: None, duration: ttl(900), starts_at: None };
        self.app.ask(&self.caller("alice"), ask).await.unwrap()
    }

    async fn approve(&self, who: &str, view: &AccessView, signed: Option<SignedStatement>) {
        let access = &view.access;
        self.app.approve(&self.caller(who), &access.envelope.access_request, access.digest, None, signed).await.unwrap();
    }

    async fn signed(&self, sql: &str) -> AccessView {
        let view = self.asked(sql).await;
        self.approve("bob", &view, Some(self.statement(&view, "bob", &self.bob))).await;
        view
    }

    fn statement(&self, view: &AccessView, who: &str, key: &FileKey) -> SignedStatement {
        let statement = Statement::about(&view.access.envelope, Verdict::Approve, parsed(who), None, self.app.now()).unwrap();
        let statement = statement.to_text().unwrap();
        let signature = key.sign(&statement);
        SignedStatement { statement, signature }
    }

    /// The receipt, with the rosters and the enrolments of keys before it.
    async fn receipt(&self, view: &AccessView) -> Receipt {
        self.app.publish_checkpoint().await.unwrap();
        let carol = self.caller("carol");
        let id = &view.access.envelope.access_request;
        let history = self.app.access(&carol, id).await.unwrap().history;
        let all = self.app.ledger_tail(&carol, None, 1_000).await.unwrap();
        let enrolments = all.iter().filter(|stored| stored.event.as_ref().is_some_and(|event| event.kind() == "key_enrolled"));
        let mut entries = Vec::new();
        for index in enrolments.map(|stored| stored.index).chain(history.iter().map(|stored| stored.index)) {
            entries.push(self.entry(index).await);
        }
        let in_force = self.app.rosters_of(&carol, id).await.unwrap();
        let mut rosters = Vec::new();
        for roster in in_force {
            entries.push(self.entry(roster.index).await);
            rosters.push(ReceiptRoster { text: roster.text, signatures: roster.signatures });
        }
        Receipt { v: if rosters.is_empty() { 1 } else { 2 }, access_request: id.to_string(), entries, rosters }
    }

    /// The receipt with the last entry that puts this roster into force, whatever the gateway would hand out.
    async fn with_roster(&self, view: &AccessView, roster: &Roster) -> Receipt {
        self.app.publish_checkpoint().await.unwrap();
        let id = &view.access.envelope.access_request;
        let mut entries = Vec::new();
        for stored in self.store.load(StreamId::Access(id.clone())).await.unwrap() {
            entries.push(self.entry(stored.index).await);
        }
        let digest = digest(roster).to_string();
        let policy = self.store.load(StreamId::Policy).await.unwrap();
        let named = |event: &Event| event.to_body().unwrap().contains(&digest);
        let applied = policy.iter().rev().find(|stored| stored.event.as_ref().is_some_and(named)).unwrap();
        entries.push(self.entry(applied.index).await);
        let SignedRoster { text, signatures, .. } = sealed(roster);
        Receipt { v: 2, access_request: id.to_string(), entries, rosters: vec![ReceiptRoster { text, signatures }] }
    }

    async fn entry(&self, index: u64) -> ReceiptEntry {
        let proof = dto::LedgerProof::from(&self.app.prove(&self.caller("carol"), index).await.unwrap());
        ReceiptEntry { index, proof: proof.proof, key: proof.key.unwrap(), body: proof.body.unwrap() }
    }

    fn proves(&self, receipt: &Receipt, roots: Option<&Roots>) -> Proved {
        let written = serde_json::to_vec(receipt).unwrap();
        Receipt::parse(&written).unwrap().verify(std::slice::from_ref(&self.key), roots).unwrap()
    }

    fn refuses(&self, receipt: &Receipt, why: &str) {
        self.refuses_with(receipt, None, why);
    }

    fn refuses_with(&self, receipt: &Receipt, roots: Option<&Roots>, why: &str) {
        let refused = receipt.verify(std::slice::from_ref(&self.key), roots).expect_err(why).to_string();
        assert!(refused.contains(why), "{refused}");
    }

    /// A roster of these people, one key each, under the policy in force.
    async fn roster(&self, epoch: u64, people: &[(&str, &str, &FileKey)]) -> Roster {
        let policies = [self.app.status().await.policy].into();
        let member = |(name, group, key): &(&str, &str, &FileKey)| {
            let member = Member { groups: [parsed(group)].into(), keys: [key.public().to_string()].into(), manager: None };
            (parsed(name), member)
        };
        Roster { v: 1, gateway: "test".into(), epoch, policies, people: people.iter().map(member).collect() }
    }

    /// Puts a roster into force that two of the three root keys signed.
    async fn applies(&self, roster: &Roster) {
        self.app.apply_roster(&sealed(roster)).await.unwrap();
        self.clock.advance(Duration::from_secs(1));
    }

    /// Writes what never happened, as somebody with the store would. The gateway then signs the ledger with it.
    async fn forge(&self, stream: StreamId, events: Vec<Event>) {
        let expected = self.store.load(stream.clone()).await.unwrap().len() as u64;
        self.store.append(vec![Append { stream, expected, events, row: None }], self.app.now()).await.unwrap();
    }

    /// An approval that the gateway never took, said to be given under this roster.
    async fn forge_approval(&self, view: &AccessView, who: &str, key: &FileKey, roster: Option<Digest>) {
        let SignedStatement { statement, signature } = self.statement(view, who, key);
        let (sign_in, source) = (SignInId::from_bits(7), "127.0.0.1".to_owned());
        let approval = Approval {
            approver: parsed(who),
            groups: [parsed("dba")].into(),
            at: self.app.now(),
            digest: view.access.digest,
            comment: None,
            evidence: Evidence::Signed { statement, signature, roster, sign_in, source },
        };
        let stream = StreamId::Access(view.access.envelope.access_request.clone());
        self.forge(stream, vec![AccessEvent::Approved { approval }.into()]).await;
    }
}

fn roots(needed: usize) -> Roots {
    Roots { keys: ROOTS.map(|seed| FileKey::of(seed).public()).into(), needed }
}

fn signed_by(text: &str, seeds: &[u8]) -> String {
    seeds.iter().map(|seed| FileKey::of(*seed).sign_for(ROSTER_NAMESPACE, text)).collect()
}

fn sealed(roster: &Roster) -> SignedRoster {
    let text = roster.to_text().unwrap();
    SignedRoster { roots: roots(2), signatures: signed_by(&text, &ROOTS[..2]), text, highest_epoch: 0 }
}

fn digest(roster: &Roster) -> Digest {
    Digest::of(roster).unwrap()
}

fn applied(roster: &Roster) -> Event {
    PolicyEvent::RosterApplied { epoch: roster.epoch, digest: digest(roster), at: safeconduct_model::Timestamp::default() }.into()
}

#[tokio::test]
async fn f53_a_receipt_proves_who_asked_who_signed_and_what_came_of_it() {
    let gateway = Gateway::start().await;
    let view = gateway.signed("analyze orders").await;
    let receipt = gateway.receipt(&view).await;
    assert!(receipt.v == 1 && !serde_json::to_string(&receipt).unwrap().contains("rosters"), "as where there never was one");
    let proved = gateway.proves(&receipt, None);
    assert_eq!((proved.requester.as_str(), proved.what.as_str(), proved.last.as_str()), ("alice", "analyze orders", "grant_given"));
    assert_eq!(proved.digest, view.access.digest.to_string());
    let [approval] = &proved.approvals[..] else { panic!("{proved:?}") };
    assert_eq!((approval.approver.as_str(), approval.key.clone()), ("bob", Some(gateway.bob.public().fingerprint())));
    assert!(proved.to_string().contains("signed with SHA256:") && proved.signed_by.contains(ORIGIN), "{proved}");
    // One that nobody signed says so.
    let plain = gateway.asked("update orders set status = 'x' where id = 1").await;
    gateway.approve("bob", &plain, None).await;
    let proved = gateway.proves(&gateway.receipt(&plain).await, None);
    assert!(proved.approvals[0].key.is_none() && proved.to_string().contains("no signature"), "{proved}");
}

#[tokio::test]
async fn f54_nothing_in_a_receipt_can_be_exchanged_left_out_or_made_up() {
    let gateway = Gateway::start().await;
    let (view, other) = (gateway.signed("analyze orders").await, gateway.signed("analyze products").await);
    let (receipt, others) = (gateway.receipt(&view).await, gateway.receipt(&other).await);
    let with = |change: &dyn Fn(&mut Receipt)| {
        let mut changed = receipt.clone();
        change(&mut changed);
        changed
    };
    let last = receipt.entries.len() - 1;
    gateway.refuses(
        &with(&|r| r.entries[1].body = r.entries[1].body.replace("analyze orders", "analyze prices")),
        "not what the ledger commits",
    );
    gateway.refuses(&with(&|r| r.entries[1].key = STANDARD.encode([1; 32])), "not what the ledger commits");
    gateway.refuses(&with(&|r| r.entries[1].index += 1), "not what the ledger commits");
    gateway.refuses(&with(&|r| drop(r.entries.remove(2))), "is missing");
    gateway.refuses(&with(&|r| drop(r.entries.remove(1))), "is missing");
    gateway.refuses(&with(&|r| r.entries.swap(1, 2)), "is missing");
    gateway.refuses(&with(&|r| drop(r.entries.remove(0))), "does not hold the enrolment");
    gateway.refuses(&with(&|r| r.entries[last] = others.entries[last].clone()), "belongs to");
    gateway.refuses(&with(&|r| r.access_request = others.access_request.clone()), "belongs to");
    gateway.refuses(&with(&|r| r.access_request = "everything".into()), "names no access request");
    gateway.refuses(&with(&|r| r.entries.clear()), "does not hold the asking");
    let stranger = TestSigner(SignerKey::from_seed(ORIGIN, &[8; 32]).unwrap());
    let stranger = VerifierKey::parse(&safeconduct_app::ports::CheckpointSigner::verifier_key(&stranger)).unwrap();
    assert!(receipt.verify(&[stranger], None).is_err(), "another ledger's key");
    assert!(receipt.verify(&[], None).is_err(), "no key");
    for nonsense in [
        "",
        "{}",
        "[]",
        r#"{"v":2,"access_request":"rq-000000000000","entries":[]}"#,
        r#"{"v":1,"access_request":"x","entries":[],"more":1}"#,
    ] {
        assert!(Receipt::parse(nonsense.as_bytes()).is_err(), "{nonsense}");
    }
}

#[tokio::test]
async fn f54_with_a_roster_a_receipt_proves_whose_key_signed_by_what_root_keys_signed() {
    let gateway = Gateway::start().await;
    let roster = gateway.roster(3, &[("bob", "dba", &gateway.bob)]).await;
    gateway.applies(&roster).await;
    let view = gateway.signed("analyze orders").await;
    let receipt = gateway.receipt(&view).await;
    assert_eq!((receipt.v, receipt.rosters.len()), (2, 1));
    let proved = gateway.proves(&receipt, None);
    let entry = proved.rosters[0].entry;
    let said = proved.to_string();
    let key = gateway.bob.public().fingerprint();
    let has = |line: &str| assert!(said.contains(line), "{said}");
    has(&format!("approved by bob, signed with {key}, of the roster of epoch 3 (entry {entry})\n"));
    has(&format!("quorum: one of dba; met by signatures of people of the roster of epoch 3 (entry {entry})\n"));
    has(&format!("policy {}: vouched for by the roster of epoch 3", view.access.envelope.policy));
    has("its own signatures (2) were not checked against root keys, none were given\n");
    assert!(!said.contains("enrolled in"), "{said}");

    let proved = gateway.proves(&receipt, Some(&roots(2)));
    assert!(proved.to_string().contains("signed by 2 of 3 root keys, 2 must\n"), "{proved}");
    // What says whose keys are whose is not for everybody.
    let id = &view.access.envelope.access_request;
    assert_eq!(gateway.app.rosters_of(&gateway.caller("alice"), id).await.unwrap_err().code, "VIEW-001");

    // A policy that its keepers did not sign, and people who are there in other groups: told, whatever the record says of them.
    let later = Roster { policies: [Digest::of_bytes(b"another")].into(), ..gateway.roster(4, &[("bob", "guests", &gateway.bob)]).await };
    gateway.forge(StreamId::Policy, vec![applied(&later)]).await;
    let view = gateway.asked("analyze products").await;
    gateway.forge_approval(&view, "bob", &gateway.bob, Some(digest(&later))).await;
    let claimed = AccessEvent::Claimed { at: gateway.app.now() };
    gateway.forge(StreamId::Access(view.access.envelope.access_request.clone()), vec![claimed.into()]).await;
    let proved = gateway.proves(&gateway.with_roster(&view, &later).await, Some(&roots(2)));
    let said = proved.to_string();
    assert!(said.contains("quorum: one of dba; not met by signatures alone of people of the roster of epoch 4"), "{said}");
    assert!(said.contains(": not vouched for by the roster of epoch 4"), "{said}");
}

/// Receipts that were handed out hold for ever. `UPDATE_GOLDEN=1` writes them anew, for a new version of the format and nothing else.
#[tokio::test]
async fn receipts_of_before_hold() {
    let gateway = Gateway::start().await;
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../tests/receipts");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let enrolled = gateway.receipt(&gateway.signed("analyze products").await).await;
        gateway.applies(&gateway.roster(3, &[("bob", "dba", &gateway.bob)]).await).await;
        let listed = gateway.receipt(&gateway.signed("analyze orders").await).await;
        for (name, receipt) in [("enrolled.json", enrolled), ("listed.json", listed)] {
            std::fs::write(folder.join(name), serde_json::to_string(&receipt).unwrap() + "\n").unwrap();
        }
        let lines = ROOTS.map(|seed| format!("{}\n", FileKey::of(seed).public()));
        std::fs::write(folder.join("roots.pub"), lines.concat()).unwrap();
        std::fs::write(folder.join("ledger.vkey"), format!("{}\n", gateway.key)).unwrap();
    }
    let read = |name: &str| Receipt::parse(&std::fs::read(folder.join(name)).unwrap()).unwrap();
    assert_eq!(gateway.proves(&read("enrolled.json"), None).rosters, []);
    assert_eq!(gateway.proves(&read("listed.json"), Some(&roots(2))).rosters.len(), 1);
}

#[tokio::test]
async fn f54_what_is_done_under_a_later_roster_is_counted_by_that_one() {
    let gateway = Gateway::start().await;
    gateway.applies(&gateway.roster(3, &[("bob", "dba", &gateway.bob)]).await).await;
    let view = gateway.signed("analyze orders").await;
    // Nothing asked for signatures, so the approval stays in force without its key.
    gateway.applies(&gateway.roster(4, &[("bob", "dba", &FileKey::of(9))]).await).await;
    let claimed = AccessEvent::Claimed { at: gateway.app.now() };
    gateway.forge(StreamId::Access(view.access.envelope.access_request.clone()), vec![claimed.into()]).await;
    let receipt = gateway.receipt(&view).await;
    assert_eq!(receipt.rosters.len(), 2);
    let proved = gateway.proves(&receipt, Some(&roots(2)));
    assert_eq!(proved.approvals[0].roster.map(|roster| roster.epoch), Some(3));
    let quorum = proved.quorum.unwrap();
    assert_eq!((quorum.roster.epoch, quorum.met), (4, false));
}

#[tokio::test]
async fn f54_a_roster_in_a_receipt_can_t_be_exchanged_left_out_or_made_up() {
    let gateway = Gateway::start().await;
    let older = gateway.roster(3, &[("bob", "dba", &gateway.bob)]).await;
    gateway.applies(&older).await;
    let before = gateway.receipt(&gateway.signed("analyze products").await).await;
    let roster = gateway.roster(4, &[("bob", "dba", &gateway.bob)]).await;
    gateway.applies(&roster).await;
    let receipt = gateway.receipt(&gateway.signed("analyze orders").await).await;
    let with = |change: &dyn Fn(&mut Receipt)| {
        let mut changed = receipt.clone();
        change(&mut changed);
        changed
    };
    let last = receipt.entries.len() - 1;
    let two = roots(2);
    gateway.proves(&receipt, Some(&two));
    // Another epoch's: alone, and with its entry, which is in the ledger as well.
    gateway.refuses(&with(&|r| r.rosters = before.rosters.clone()), "no entry put the roster");
    let swapped = with(&|r| {
        r.rosters = before.rosters.clone();
        r.entries[last] = before.entries.last().unwrap().clone();
    });
    gateway.refuses(&swapped, "does not show the roster");
    // One byte of it.
    let text = receipt.rosters[0].text.clone();
    gateway.refuses(&with(&|r| r.rosters[0].text = text.replace("\"dba\"", "\"dbb\"")), "no entry put the roster");
    // Not in the ledger, not in the receipt, in neither.
    gateway.refuses(&with(&|r| drop(r.entries.pop())), "no entry put the roster");
    gateway.refuses(&with(&|r| (r.v, r.rosters) = (1, Vec::new())), "its roster of epoch 4 is not here");
    let neither = with(&|r| {
        (r.v, r.rosters) = (1, Vec::new());
        r.entries.pop();
    });
    gateway.refuses(&neither, "does not show the roster");
    assert!(Receipt::parse(&serde_json::to_vec(&with(&|r| r.v = 1)).unwrap()).is_err());
    assert!(Receipt::parse(&serde_json::to_vec(&with(&|r| r.rosters.clear())).unwrap()).is_err());
    // Signed by too few, and by others: seen where root keys are given, and told where not.
    for seeds in [&ROOTS[..1], &[101, 101, 101], &[101, 9, 8], &[]] {
        let few = with(&|r| r.rosters[0].signatures = signed_by(&text, seeds));
        let valid = usize::from(!seeds.is_empty());
        gateway.refuses_with(&few, Some(&two), &format!("{valid} of the root keys signed it, 2 must"));
        assert!(gateway.proves(&few, None).to_string().contains("not checked against root keys"));
    }
    let another = text.replace("\"dba\"", "\"dbb\"");
    let elsewhere = with(&|r| r.rosters[0].signatures = signed_by(&another, &ROOTS));
    gateway.refuses_with(&elsewhere, Some(&two), "0 of the root keys signed it");
}

#[tokio::test]
async fn f54_a_record_that_somebody_made_up_has_no_receipt_under_a_roster() {
    let gateway = Gateway::start().await;
    let roster = gateway.roster(3, &[("bob", "dba", &FileKey::of(9)), ("carol", "dba", &FileKey::of(10))]).await;
    gateway.applies(&roster).await;
    let two = roots(2);
    let named = Some(digest(&roster));

    // By the key that the ledger enrolled for bob and the roster does not list, by nobody's, by somebody else's, by somebody it does not know.
    let forgers = [("bob", &gateway.bob), ("bob", &FileKey::of(77)), ("bob", &FileKey::of(10)), ("abe", &FileKey::of(9))];
    for (number, (who, key)) in forgers.into_iter().enumerate() {
        let view = gateway.asked(&format!("delete from orders where id = {number}")).await;
        gateway.forge_approval(&view, who, key, named).await;
        let receipt = gateway.receipt(&view).await;
        assert!(receipt.entries[0].body.contains("key_enrolled"), "the enrolment is here");
        gateway.refuses(&receipt, &format!("is no key of {who} in the roster of epoch 3"));
    }
    // Naming none, it is as where there is no roster: told as that, and refused where root keys are to say whose key it is.
    let view = gateway.asked("analyze orders").await;
    gateway.forge_approval(&view, "bob", &gateway.bob, None).await;
    let receipt = gateway.receipt(&view).await;
    assert!(gateway.proves(&receipt, None).to_string().contains("enrolled in entry"));
    gateway.refuses_with(&receipt, Some(&two), "names no roster");
    // One key, two names.
    let enrolled = DirectoryEvent::KeyEnrolled {
        name: parsed("abe"),
        key: gateway.bob.public().to_string(),
        at: gateway.app.now(),
        by: safeconduct_lifecycle::Actor::Gateway { cause: "nobody".into() },
    };
    gateway.forge(StreamId::Directory, vec![enrolled.into()]).await;
    gateway.clock.advance(Duration::from_secs(1));
    let view = gateway.asked("analyze products").await;
    gateway.forge_approval(&view, "bob", &gateway.bob, None).await;
    gateway.forge_approval(&view, "abe", &gateway.bob, None).await;
    gateway.refuses(&gateway.receipt(&view).await, "one key counts once");
    let view = gateway.asked("analyze order_items").await;
    gateway.forge_approval(&view, "bob", &FileKey::of(9), named).await;
    gateway.forge_approval(&view, "bob", &FileKey::of(9), named).await;
    gateway.refuses(&gateway.receipt(&view).await, "one person counts once");
}

#[tokio::test]
async fn f54_a_ledger_that_lies_about_a_roster_has_no_receipt() {
    let gateway = Gateway::start().await;
    let roster = gateway.roster(4, &[("bob", "dba", &gateway.bob)]).await;
    gateway.applies(&roster).await;
    let older = gateway.roster(3, &[("bob", "dba", &FileKey::of(77))]).await;
    let foreign = Roster { gateway: "other".into(), epoch: 5, ..roster.clone() };
    let misnamed = Event::from(PolicyEvent::RosterApplied { epoch: 6, digest: digest(&roster), at: gateway.app.now() });
    let lies = [
        (applied(&foreign), &foreign, &gateway.bob, "it is for the gateway `other`"),
        (applied(&older), &older, &FileKey::of(77), "is of epoch 3, not 4"),
        (misnamed, &roster, &gateway.bob, "the roster is of epoch 4, not 6"),
    ];
    for (number, (entry, named, key, why)) in lies.into_iter().enumerate() {
        gateway.forge(StreamId::Policy, vec![entry]).await;
        let view = gateway.asked(&format!("delete from orders where id = {number}")).await;
        gateway.forge_approval(&view, "bob", key, Some(digest(named))).await;
        let mut receipt = gateway.with_roster(&view, named).await;
        if named.epoch < 4 {
            // With the newer one beside it, which is what the older one follows.
            let newer = gateway.with_roster(&view, &roster).await;
            let place = newer.entries.iter().position(|entry| entry.body.contains("roster_applied")).unwrap();
            receipt.entries.push(newer.entries[place].clone());
            receipt.rosters.extend(newer.rosters);
        }
        gateway.refuses(&receipt, why);
    }
}
