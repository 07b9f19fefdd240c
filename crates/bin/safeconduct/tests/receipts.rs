//! Receipts: what an application's ledger proves about one access request, and everything somebody could do to the file.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test that can't go on stops")]

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use safeconduct_api::dto;
use safeconduct_app::{AccessView, App, AskedFor, Caller, DoorAddress, NewAccessRequest, Person, Ports, Settings, SignedStatement};
use safeconduct_evidence::{Statement, Verdict};
use safeconduct_ledger::{SignerKey, VerifierKey};
use safeconduct_model::{Change, MintingKey, PrincipalKind, SignInId};
use safeconduct_policy::BundleFiles;
use safeconduct_testkit::{MemoryRecorder, MemoryStore, TestClock, TestEntropy, TestSigner, parsed, signers::FileKey, ttl, words};
use safeconduct_verify::{Receipt, ReceiptEntry};

const ORIGIN: &str = "test.example/ledger";

struct Gateway {
    app: App,
    clock: Arc<TestClock>,
    key: VerifierKey,
    bob: FileKey,
}

impl Gateway {
    async fn start() -> Self {
        let clock = Arc::new(TestClock::default());
        let signer = || SignerKey::from_seed(ORIGIN, &[7; 32]).unwrap();
        let ports = Ports {
            store: Arc::new(MemoryStore::new()),
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
            pending_per_principal: 5,
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
        let gateway = Self { app, clock, key, bob: FileKey::of(3) };
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
        let statement = Statement::about(&view.access.envelope, Verdict::Approve, parsed("bob"), None, self.app.now()).unwrap();
        let statement = statement.to_text().unwrap();
        let signature = self.bob.sign(&statement);
        self.approve("bob", &view, Some(SignedStatement { statement, signature })).await;
        view
    }

    /// The receipt, with the enrolments of keys before it.
    async fn receipt(&self, view: &AccessView) -> Receipt {
        self.app.publish_checkpoint().await.unwrap();
        let carol = self.caller("carol");
        let id = &view.access.envelope.access_request;
        let history = self.app.access(&carol, id).await.unwrap().history;
        let all = self.app.ledger_tail(&carol, None, 1_000).await.unwrap();
        let enrolments = all.iter().filter(|stored| stored.event.as_ref().is_some_and(|event| event.kind() == "key_enrolled"));
        let mut entries = Vec::new();
        for index in enrolments.map(|stored| stored.index).chain(history.iter().map(|stored| stored.index)) {
            let proof = dto::LedgerProof::from(&self.app.prove(&carol, index).await.unwrap());
            entries.push(ReceiptEntry { index, proof: proof.proof, key: proof.key.unwrap(), body: proof.body.unwrap() });
        }
        Receipt { v: 1, access_request: id.to_string(), entries }
    }

    fn refuses(&self, receipt: &Receipt, why: &str) {
        let refused = receipt.verify(std::slice::from_ref(&self.key)).expect_err(why).to_string();
        assert!(refused.contains(why), "{refused}");
    }
}

#[tokio::test]
async fn f53_a_receipt_proves_who_asked_who_signed_and_what_came_of_it() {
    let gateway = Gateway::start().await;
    let view = gateway.signed("analyze orders").await;
    let receipt = gateway.receipt(&view).await;
    let written = serde_json::to_vec(&receipt).unwrap();
    let proved = Receipt::parse(&written).unwrap().verify(std::slice::from_ref(&gateway.key)).unwrap();
    assert_eq!((proved.requester.as_str(), proved.what.as_str(), proved.last.as_str()), ("alice", "analyze orders", "grant_given"));
    assert_eq!(proved.digest, view.access.digest.to_string());
    let [approval] = &proved.approvals[..] else { panic!("{proved:?}") };
    assert_eq!((approval.approver.as_str(), approval.key.clone()), ("bob", Some(gateway.bob.public().fingerprint())));
    assert!(proved.to_string().contains("signed with SHA256:") && proved.signed_by.contains(ORIGIN), "{proved}");
    // One that nobody signed says so.
    let plain = gateway.asked("update orders set status = 'x' where id = 1").await;
    gateway.approve("bob", &plain, None).await;
    let proved = gateway.receipt(&plain).await.verify(std::slice::from_ref(&gateway.key)).unwrap();
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
    assert!(receipt.verify(&[stranger]).is_err(), "another ledger's key");
    assert!(receipt.verify(&[]).is_err(), "no key");
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
