//! A gateway for tests: in-memory ports that can be made to fail, a clock moved by hand, a small bundle and a dozen people.
//!
//! Decides nothing and waits for nothing: whatever takes time here takes none.
#![allow(dead_code, reason = "each test file uses a part")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that can't go on says so and stops")]

mod faulty_store;

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

pub use faulty_store::FaultyStore;
use parking_lot::Mutex;
use safeconduct_app::{
    AccessView, App, AskedFor, Caller, DoorAddress, DoorSession, NewAccessRequest, Person, Ports, Problem, Refusal, Settings, SignedRoster,
    StatementAsk, Verdict,
    ports::{BoxFuture, Executor, ResultPart, ResultSink, Run, Store},
};
use safeconduct_ledger::SignerKey;
use safeconduct_lifecycle::{AccessState, ExactOutcome, StreamId, TransactionEnd};
use safeconduct_model::{
    AccessRequestId, Change, GrantId, MintingKey, Narrowing, Operation, Permit, PrincipalKind, SignInId, Timestamp, Ttl,
};
use safeconduct_policy::BundleFiles;
use safeconduct_testkit::{MemoryRecorder, START, TestClock, TestEntropy, TestSigner, parsed, ttl, words};
use tokio::sync::Notify;

pub const RESOURCE: &str = r#"
description = "Orders"
kind = "postgres"

[postgres]
host = "127.0.0.1"
database = "orders"
databases = ["archive"]
search_path = ["public"]

[postgres.tls]
danger_disabled = true

[postgres.credentials]
user = "gateway"
password = "env:ORDERS_PASSWORD"
"#;

pub const POLICY: &str = r#"
@id("read") @max_duration("30m")
permit (principal in Group::"engineers", action == Action::"read", resource == Resource::"orders-db");

@id("write") @max_duration("1h")
permit (principal in Group::"engineers", action == Action::"write", resource == Resource::"orders-db")
when { context.approvals >= 1 && context.approved_by.contains(Group::"dba") };

@id("ddl") @audit("strict")
permit (principal in Group::"engineers", action == Action::"ddl", resource == Resource::"orders-db")
when { context.exact && context.approvals >= 2 && context.approved_by.contains(Group::"dba") };

@id("unknown")
permit (principal in Group::"engineers", action == Action::"unknown", resource == Resource::"orders-db")
when { context.exact && context.approvals >= 1 && context.approved_by.contains(Group::"dba") };

@id("dba")
permit (principal in Group::"dba", action in [Action::"read", Action::"write"], resource is Resource)
when { context.approvals >= 1 && context.approved_by.contains(Group::"dba") };

@id("workload")
permit (principal in Group::"deployers", action == Action::"write", resource == Resource::"orders-db")
when { context.exact && context.approvals >= 1 && context.approved_by.contains(Group::"dba") };

@id("approve")
permit (principal in Group::"dba", action == Action::"approve", resource in Resource::"orders-db");

@id("approve-ddl")
permit (principal in Group::"engineers", action == Action::"approve", resource in Resource::"orders-db")
when { resource.exact && resource.operations.contains("ddl") };
"#;

pub const FREEZE: &str = r#"
@id("freeze")
forbid (principal, action in Action::"access", resource is Resource);
"#;

/// A bundle of the usual resource and these policies.
pub fn bundle(policies: &str) -> BundleFiles {
    bundle_with(RESOURCE, policies)
}

pub fn bundle_with(resource: &str, policies: &str) -> BundleFiles {
    let mut files = BTreeMap::new();
    files.insert("resources/orders-db.toml".to_owned(), resource.as_bytes().to_vec());
    files.insert("policies/all.cedar".to_owned(), policies.as_bytes().to_vec());
    BundleFiles { files }
}

/// The usual bundle without its resource: its policies would name nothing.
pub fn bundle_without_resource() -> BundleFiles {
    BundleFiles::default()
}

const PEOPLE: [(&str, &[&str]); 9] = [
    ("alice", &["engineers"]),
    ("erin", &["engineers"]),
    ("bob", &["dba"]),
    ("dora", &["dba"]),
    ("carol", &["auditors"]),
    ("ann", &["administrators"]),
    ("abe", &["administrators"]),
    ("mallory", &[]),
    ("deployer", &["deployers"]),
];

pub struct House {
    pub app: App,
    pub store: Arc<FaultyStore>,
    pub recorder: MemoryRecorder,
    pub clock: Arc<TestClock>,
    pub executor: Arc<TestExecutor>,
    entropy: Arc<TestEntropy>,
    watched: bool,
}

impl House {
    /// Everybody, and the usual bundle.
    pub async fn new() -> Self {
        Self::with(&PEOPLE).await
    }

    pub async fn with(people: &[(&str, &[&str])]) -> Self {
        let house = Self::empty().await;
        let people = people.iter().map(|(name, groups)| person(name, groups)).collect();
        house.app.operator_people(people).await.unwrap();
        house.app.operator_policy(&bundle(POLICY)).await.unwrap();
        // Memberships begin before anything is asked.
        house.clock.advance(Duration::from_secs(1));
        house
    }

    pub async fn empty() -> Self {
        let store = Arc::new(FaultyStore::default());
        let (recorder, clock) = (MemoryRecorder::new(), Arc::new(TestClock::at(START)));
        let entropy = Arc::new(TestEntropy::seeded(7));
        let executor = Arc::new(TestExecutor::default());
        let app = start(Arc::clone(&store) as _, &recorder, &clock, &entropy, &executor, false).await.unwrap();
        Self { app, store, recorder, clock, executor, entropy, watched: false }
    }

    /// The machine dies and comes back: nothing is told to stop.
    pub async fn crash(self) -> Self {
        let Self { store, recorder, clock, entropy, watched, .. } = self;
        recorder.crash();
        let executor = Arc::new(TestExecutor::default());
        let app = start(Arc::clone(&store) as _, &recorder, &clock, &entropy, &executor, watched).await.unwrap();
        Self { app, store, recorder, clock, executor, entropy, watched }
    }

    /// The same after a crash, started with a roster.
    pub async fn with_roster(self, roster: SignedRoster) -> Result<Self, safeconduct_app::StartError> {
        let Self { store, recorder, clock, entropy, watched, .. } = self;
        recorder.crash();
        let executor = Arc::new(TestExecutor::default());
        let settings = Settings { roster: Some(roster), ..settings(watched) };
        let app = start_with(Arc::clone(&store) as _, &recorder, &clock, &entropy, &executor, settings).await?;
        Ok(Self { app, store, recorder, clock, executor, entropy, watched })
    }

    /// Another gateway with the same clock and people's callers on another store.
    pub async fn start_on(&self, store: Arc<dyn Store>) -> App {
        start(store, &self.recorder, &self.clock, &self.entropy, &self.executor, self.watched).await.unwrap()
    }

    /// Starts once more on the same store.
    pub async fn try_start(&self) -> Result<App, safeconduct_app::StartError> {
        self.recorder.crash();
        start(Arc::clone(&self.store) as _, &self.recorder, &self.clock, &self.entropy, &self.executor, self.watched).await
    }

    pub fn caller(&self, name: &str) -> Caller {
        let kind = if name == "deployer" { PrincipalKind::Workload } else { PrincipalKind::Person };
        let number = name.bytes().fold(1_u64, |n, byte| n.wrapping_mul(31).wrapping_add(byte.into()));
        Caller {
            name: parsed(name),
            kind,
            sign_in: SignInId::from_bits(number),
            method: "password".to_owned(),
            source: "127.0.0.1".to_owned(),
            signed_in_at: START,
            authenticated_at: Some(START),
            claims: std::collections::BTreeMap::new(),
            scopes: None,
        }
    }

    pub async fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
        self.app.tick().await.unwrap();
    }

    pub async fn window(&self, who: &str, operations: &[Operation], seconds: u64) -> Result<AccessView, Problem> {
        self.app.ask(&self.caller(who), window(operations, seconds)).await
    }

    /// A live grant, approved by bob where it takes that.
    pub async fn grant(&self, who: &str, operations: &[Operation], seconds: u64) -> GrantId {
        let view = self.window(who, operations, seconds).await.unwrap();
        let view = if view.access.state == AccessState::Pending { self.approve("bob", &view).await.unwrap() } else { view };
        assert!(matches!(view.access.state, AccessState::Active { .. }), "{:?}", view.access.state);
        view.access.grant()
    }

    pub async fn exact(&self, who: &str, text: &str) -> Result<AccessView, Problem> {
        self.app.ask(&self.caller(who), exact(text)).await
    }

    /// An exact action that may be run.
    pub async fn ready(&self, who: &str, text: &str) -> AccessRequestId {
        let view = self.exact(who, text).await.unwrap();
        let view = if view.access.state == AccessState::Pending { self.approve("bob", &view).await.unwrap() } else { view };
        assert!(matches!(view.access.state, AccessState::Ready { .. }), "{:?}", view.access.state);
        view.access.envelope.access_request
    }

    pub async fn approve(&self, who: &str, view: &AccessView) -> Result<AccessView, Problem> {
        self.app.approve(&self.caller(who), &view.access.envelope.access_request, view.access.digest, None, None).await
    }

    /// The access request as an auditor sees it.
    pub async fn see(&self, id: &AccessRequestId) -> AccessView {
        self.app.access(&self.caller("carol"), id).await.unwrap()
    }

    pub async fn state(&self, id: &AccessRequestId) -> AccessState {
        self.see(id).await.access.state
    }

    pub async fn change(&self, who: &str, change: Change) -> Result<AccessView, Problem> {
        self.app.change(&self.caller(who), change, words("a change")).await
    }

    /// Asked by ann, approved by abe.
    pub async fn changed(&self, change: Change) -> AccessRequestId {
        let view = self.change("ann", change).await.unwrap();
        let view = self.approve("abe", &view).await.unwrap();
        assert!(matches!(view.access.state, AccessState::Settled { .. }), "{:?}", view.access.state);
        view.access.envelope.access_request
    }

    pub async fn apply(&self, files: BundleFiles) {
        let view = self.app.upload_policy(&self.caller("ann"), files, words("a new bundle")).await.unwrap();
        self.approve("abe", &view).await.unwrap();
    }

    /// Signs in at the door and opens a session.
    pub async fn open(&self, who: &str) -> DoorSession {
        self.try_open(who).await.unwrap_or_else(|refused| panic!("{refused}"))
    }

    pub async fn try_open(&self, who: &str) -> Result<DoorSession, String> {
        let secret = self.app.connect(&self.caller(who), &parsed("orders-db"), None).await.map_err(|p| p.to_string())?;
        let lookup = self.app.door_lookup(secret.user.as_str(), &secret.dbname);
        let last = lookup.verifiers().len() - 1;
        self.app.door_open(lookup, last, peer()).await.map_err(|e| e.to_string())
    }

    pub async fn kinds(&self, stream: StreamId) -> Vec<String> {
        let stored = self.store.load(stream).await.unwrap();
        stored.iter().filter_map(|s| s.event.as_ref().map(|e| e.kind().to_owned())).collect()
    }

    pub async fn events(&self) -> u64 {
        self.app.ledger_size().await.unwrap()
    }
}

async fn start(
    store: Arc<dyn Store>,
    recorder: &MemoryRecorder,
    clock: &Arc<TestClock>,
    entropy: &Arc<TestEntropy>,
    executor: &Arc<TestExecutor>,
    bundle_watched: bool,
) -> Result<App, safeconduct_app::StartError> {
    start_with(store, recorder, clock, entropy, executor, settings(bundle_watched)).await
}

async fn start_with(
    store: Arc<dyn Store>,
    recorder: &MemoryRecorder,
    clock: &Arc<TestClock>,
    entropy: &Arc<TestEntropy>,
    executor: &Arc<TestExecutor>,
    settings: Settings,
) -> Result<App, safeconduct_app::StartError> {
    let ports = Ports {
        store,
        recorder: Arc::new(recorder.clone()),
        clock: Arc::clone(clock) as _,
        entropy: Arc::clone(entropy) as _,
        signer: Arc::new(TestSigner(key())),
    };
    let app = App::start(ports, settings, MintingKey::make()).await?;
    app.set_executor(Arc::clone(executor) as _);
    Ok(app)
}

pub fn settings(bundle_watched: bool) -> Settings {
    Settings {
        gateway: "test".to_owned(),
        public_url: "https://gateway.test".to_owned(),
        door: DoorAddress { host: "127.0.0.1".to_owned(), port: 6432, ca_pem: String::new() },
        pending: ttl(3600),
        pending_per_principal: 5,
        sign_in: ttl(8 * 3600),
        sign_in_idle: ttl(2 * 3600),
        token_days: 30,
        bundle_watched,
        signing_page: None,
        roster: None,
    }
}

pub fn person(name: &str, groups: &[&str]) -> Person {
    Person {
        name: parsed(name),
        display_name: name.to_owned(),
        groups: groups.iter().map(|group| parsed(group)).collect(),
        password: None,
        workload: name == "deployer",
    }
}

pub fn peer() -> SocketAddr {
    parsed("127.0.0.1:40000")
}

pub fn window(operations: &[Operation], seconds: u64) -> NewAccessRequest {
    let what = AskedFor::Window { operations: operations.iter().copied().collect(), narrow: Narrowing::default() };
    NewAccessRequest { resource: parsed("orders-db"), what, reason: words("a test"), ticket: None, duration: ttl(seconds), starts_at: None }
}

pub fn exact(text: &str) -> NewAccessRequest {
    let what = AskedFor::ExactSql { database: None, text: text.to_owned() };
    NewAccessRequest { what, ..window(&[], 900) }
}

/// The door's question about a text in this session.
pub fn authorize(session: &DoorSession, text: &str) -> Verdict {
    let facts = session.facts(text);
    session.authorize(&StatementAsk { facts: &facts, can_hold: true, in_transaction: false })
}

/// The grant under which it passes.
pub fn permitted(session: &DoorSession, text: &str) -> GrantId {
    permit(session, text).grant().clone()
}

pub fn permit(session: &DoorSession, text: &str) -> Permit {
    match authorize(session, text) {
        Verdict::Permit(permit) => permit,
        other => panic!("`{text}`: {other:?}"),
    }
}

pub fn refused(session: &DoorSession, text: &str) -> Refusal {
    match authorize(session, text) {
        Verdict::Refuse(refusal) => refusal,
        other => panic!("`{text}`: {other:?}"),
    }
}

pub fn ended(session: &DoorSession) -> Option<String> {
    session.standing().borrow().end.as_ref().map(|end| end.reason.clone())
}

/// Lets everything that is ready go on.
pub async fn settle_down() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

/// Lets others go on until it is so.
pub async fn until(so: impl AsyncFn() -> bool) {
    while !so().await {
        tokio::task::yield_now().await;
    }
}

/// Does what it is told with the actions it is given, and counts them.
#[derive(Default)]
pub struct TestExecutor {
    pub runs: Mutex<Vec<String>>,
    pub behaviour: Mutex<Behaviour>,
    /// For [`Behaviour::Wait`].
    pub go_on: Notify,
}

#[derive(Clone, Default)]
pub enum Behaviour {
    #[default]
    Execute,
    Fail,
    Panic,
    /// Until told to go on, or to stop.
    Wait,
}

impl Executor for TestExecutor {
    fn execute<'a>(&'a self, run: Run, sink: &'a mut (dyn ResultSink + Send)) -> BoxFuture<'a, ExactOutcome> {
        self.runs.lock().push(run.action.text.clone());
        let behaviour = self.behaviour.lock().clone();
        Box::pin(async move {
            assert!(run.permit.claimed().is_some(), "only a claimed action is run");
            assert!(run.permit.sync_first());
            let mut stop = run.stop.clone();
            match behaviour {
                Behaviour::Fail => return ExactOutcome::Failed { sqlstate: "42P01".to_owned(), message: "no such table".to_owned() },
                Behaviour::Panic => panic!("on purpose"),
                Behaviour::Wait => tokio::select! {
                    () = self.go_on.notified() => {}
                    _ = stop.wait_for(|stopped| *stopped) =>
                        return ExactOutcome::Failed { sqlstate: "57014".to_owned(), message: "stopped".to_owned() },
                },
                Behaviour::Execute => {}
            }
            let _ = sink.push(ResultPart::Complete { command: "UPDATE 1".to_owned(), rows: Some(1) }).await;
            ExactOutcome::Executed { command: "UPDATE".to_owned(), rows: Some(1), transaction: TransactionEnd::Committed }
        })
    }
}

/// Keeps what it is given.
#[derive(Default)]
pub struct Results(pub Vec<ResultPart>);

impl ResultSink for Results {
    fn push(&mut self, part: ResultPart) -> BoxFuture<'_, Result<(), safeconduct_app::ports::SinkClosed>> {
        self.0.push(part);
        Box::pin(std::future::ready(Ok(())))
    }
}

pub fn key() -> SignerKey {
    SignerKey::from_seed("gateway.test/ledger", &[9; 32]).unwrap()
}

pub fn at(seconds: i64) -> Timestamp {
    START.plus_seconds(seconds)
}

pub fn hours(n: u64) -> Ttl {
    ttl(n * 3600)
}
