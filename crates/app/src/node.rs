//! The application itself: its parts, its one writer, and how a unit of work becomes true.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, OnceLock},
};

use arc_swap::{ArcSwap, ArcSwapOption};
use parking_lot::Mutex;
use safeconduct_evidence::Site;
use safeconduct_lifecycle::{Access, StreamId, replay};
use safeconduct_model::{AccessRequestId, Digest, MintingKey, PrincipalName, ResourceName, SessionId, SignInId, Timestamp, Ttl};
use safeconduct_policy::Bundle;
use safeconduct_sql::{Facts, FunctionClasses};
use tokio::sync::{OwnedMutexGuard, broadcast, oneshot, watch};

use crate::{
    door::Door,
    door_session::HoldOutcome,
    effective_clock::EffectiveClock,
    estimates::Estimates,
    facts::{FactsService, function_classes},
    floods::Floods,
    identity::SignIns,
    judge::statement_of,
    meters::Meters,
    minting::Given,
    passkeys::Challenges,
    ports::{CheckpointSigner, Clock, Entropy, Executor, IdentityProviders, Minting, Recorder, Store},
    problem::{Problem, ProblemKind},
    providers::Arrivals,
    publish::News,
    rosters::SignedRoster,
    turns::Turns,
    world::{Work, World},
};

/// The ports an application is made of.
#[derive(Clone)]
pub struct Ports {
    pub store: Arc<dyn Store>,
    pub recorder: Arc<dyn Recorder>,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
    pub signer: Arc<dyn CheckpointSigner>,
}

/// What an operator sets.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Name of this gateway: in every envelope.
    pub gateway: String,
    /// Where people open the gateway, for links.
    pub public_url: String,
    /// Where clients find the PostgreSQL door.
    pub door: DoorAddress,
    /// How long an access request waits for a decision.
    pub pending: Ttl,
    /// Most access requests one principal may have waiting.
    pub pending_per_principal: usize,
    /// How long a person stays signed in.
    pub sign_in: Ttl,
    /// A person's sign-in that nobody uses for this long is over before that.
    pub sign_in_idle: Ttl,
    /// How many days a workload's token lasts.
    pub token_days: u16,
    /// True while a directory is watched for the bundle: whoever can write there can change policy.
    pub bundle_watched: bool,
    /// Digest of the document that people sign with in a browser: recorded at each start, so that anybody can compare.
    pub signing_page: Option<Digest>,
    /// Whose keys, groups and policies count for approvals that are signed, if that is not left to the store.
    pub roster: Option<SignedRoster>,
}

impl Settings {
    /// Where people sign in a browser: our own pages alone.
    pub(crate) fn site(&self) -> Site {
        let origin = self.public_url.trim_end_matches('/').to_owned();
        let host = origin.split_once("://").map_or(origin.as_str(), |(_, host)| host);
        let relying_party = host.rsplit_once(':').map_or(host, |(name, _)| name).to_owned();
        Site { origins: [origin].into(), relying_party }
    }
}

/// Where the PostgreSQL door listens, and how clients know it.
#[derive(Clone, Debug)]
pub struct DoorAddress {
    pub host: String,
    pub port: u16,
    pub ca_pem: String,
}

/// Verifiers by holder and resource, each with its sign-in.
pub(crate) type DoorSecrets = HashMap<(PrincipalName, ResourceName), Vec<(SignInId, String)>>;

/// The right to change something: there is one.
pub(crate) type Writing = OwnedMutexGuard<()>;

/// The application. Clones share everything.
#[derive(Clone)]
pub struct App {
    pub(crate) node: Arc<Node>,
}

pub(crate) struct Node {
    pub ports: Ports,
    pub settings: Settings,
    pub key: MintingKey,
    pub clock: EffectiveClock,
    pub facts: FactsService,
    pub world: ArcSwap<World>,
    /// The bundle that was read last although it is not the active one.
    pub bundle_asked_for: ArcSwapOption<Bundle>,
    /// Held by whoever changes anything.
    pub writer: Arc<tokio::sync::Mutex<()>>,
    pub meters: Meters,
    /// True once the gateway is about to stop.
    pub draining: watch::Sender<bool>,
    /// Why the bundle that is watched does not apply, if it does not.
    pub bundle_problem: Mutex<Option<String>>,
    pub news: broadcast::Sender<Arc<News>>,
    pub doors: Mutex<HashMap<SessionId, Arc<Door>>>,
    pub holds: Mutex<HashMap<AccessRequestId, oneshot::Sender<HoldOutcome>>>,
    pub runs: Mutex<HashMap<AccessRequestId, watch::Sender<bool>>>,
    pub executor: OnceLock<Arc<dyn Executor>>,
    pub minting: OnceLock<Arc<dyn Minting>>,
    pub estimates: Estimates,
    pub given: Mutex<Given>,
    pub providers: OnceLock<Arc<dyn IdentityProviders>>,
    pub arrivals: Arrivals,
    pub challenges: Challenges,
    /// Roles at servers that no session accounts for, as of the last look.
    pub unknown_roles: Mutex<BTreeMap<ResourceName, BTreeSet<String>>>,
    pub sign_ins: SignIns,
    /// Places for calls of insights.
    pub counting: Turns,
    /// When this application started, by the effective clock.
    pub started_at: Timestamp,
    pub floods: Floods,
    pub door_secrets: Mutex<DoorSecrets>,
    pub door_salt_key: [u8; 32],
    /// By bundle: a reader with an older world never leaves its classes to a newer one.
    pub function_classes: Mutex<HashMap<(Digest, ResourceName), Arc<FunctionClasses>>>,
    pub checkpoint_size: std::sync::atomic::AtomicU64,
    /// Whether there was room on the disks, and when that was tried.
    pub room: tokio::sync::Mutex<Option<(std::time::Duration, Result<(), Problem>)>>,
    /// Held by whoever signs a checkpoint.
    pub publisher: tokio::sync::Mutex<()>,
    /// Wakes the ticker when a nearer deadline may exist.
    pub deadline_changed: tokio::sync::Notify,
}

impl App {
    /// The effective time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.node.clock.now()
    }

    pub(crate) fn world(&self) -> Arc<World> {
        self.node.world.load_full()
    }

    /// What is counted and timed.
    #[must_use]
    pub fn meters(&self) -> &Meters {
        &self.node.meters
    }

    /// Who performs exact actions. Set once, before anything is asked.
    pub fn set_executor(&self, executor: Arc<dyn Executor>) {
        // A second executor would be a second door; the first stays.
        if self.node.executor.set(executor).is_err() {
            tracing::warn!("an executor is set already");
        }
    }

    /// Begins a unit of work. Nobody else changes anything until it is committed or dropped.
    pub(crate) async fn begin(&self) -> (Writing, Work) {
        let guard = Arc::clone(&self.node.writer).lock_owned().await;
        let work = Work::new((*self.world()).clone(), self.now());
        (guard, work)
    }

    /// Stores a unit of work; when it is durable it becomes the world and everybody concerned hears of it.
    ///
    /// Cancellation: once begun it is finished, whether or not the caller still waits. What is stored and the world never part.
    pub(crate) async fn commit(&self, guard: Writing, work: Work) -> Result<(), Problem> {
        if work.is_empty() {
            return Ok(());
        }
        let app = self.clone();
        let committed = tokio::spawn(async move {
            let result = app.store_and_publish(work).await;
            drop(guard);
            result
        });
        committed.await.map_err(|_| Problem::new("STORE-001", ProblemKind::Unavailable, "whether it was recorded is not known"))?
    }

    async fn store_and_publish(&self, mut work: Work) -> Result<(), Problem> {
        let now = work.now;
        self.join_grants(&mut work);
        let (mut world, appends, events) = work.into_appends();
        let before = self.world();
        let began = std::time::Instant::now();
        let appended = self.node.ports.store.append(appends, now).await;
        self.node.meters.append.took(began.elapsed());
        let first = self.node.meters.stored(appended)?;
        world.generation += 1;
        let complete = Arc::new(world.clone());
        world.drop_closed(events.iter().map(|(stream, _)| stream));
        self.node.world.store(Arc::new(world));
        let useless = self.publish(&before, &complete, first, &events, now);
        // Before the next unit of work begins: what it stores is not removed by this one.
        if !useless.is_empty()
            && let Err(error) = self.node.ports.store.put_values(useless).await
        {
            tracing::warn!(%error, "useless secrets are still stored; they are not taken up at the next start");
        }
        Ok(())
    }

    /// The access request of this id, open or not.
    pub(crate) async fn load_access(&self, id: &AccessRequestId) -> Result<Option<Access>, Problem> {
        if let Some(access) = self.world().access.get(id) {
            return Ok(Some((**access).clone()));
        }
        let stored = self.node.ports.store.load(StreamId::Access(id.clone())).await?;
        let events = stored.iter().filter_map(|s| match &s.event {
            Some(safeconduct_lifecycle::Event::Access(event)) => Some(&**event),
            _ => None,
        });
        // Erased events count: the next one follows them.
        let version = u64::try_from(stored.len()).unwrap_or(u64::MAX);
        Ok(replay(None, events).map(|access| Access { version, ..access }))
    }

    /// Puts the access request into the unit of work, from the store if it is no longer open.
    pub(crate) async fn recall(&self, work: &mut Work, id: &AccessRequestId) -> Result<(), Problem> {
        if work.access(id).is_none()
            && let Some(access) = self.load_access(id).await?
        {
            work.recall(access);
        }
        Ok(())
    }

    /// Facts of a text as this resource understands it. Blocks for the length of a parse.
    pub(crate) fn facts_for(&self, world: &World, resource: &ResourceName, text: &str) -> Arc<Facts> {
        self.node.facts.facts(text, &self.classes_for(world, resource))
    }

    /// How this resource classes functions of its own.
    pub(crate) fn classes_for(&self, world: &World, resource: &ResourceName) -> Arc<FunctionClasses> {
        let mut known = self.node.function_classes.lock();
        let classes = known
            .entry((world.bundle.hash, resource.clone()))
            .or_insert_with(|| Arc::new(world.resource(resource).map(|r| function_classes(r)).unwrap_or_default()));
        Arc::clone(classes)
    }

    /// Facts of the statement an access request is about, if it is about one.
    pub(crate) fn facts_of(&self, world: &World, envelope: &safeconduct_model::Envelope) -> Option<Arc<Facts>> {
        statement_of(envelope).map(|sql| self.facts_for(world, &envelope.resource, &sql.text))
    }

    /// 60 random bits for an identifier.
    pub(crate) fn bits(&self) -> Result<u64, Problem> {
        let mut bytes = [0_u8; 8];
        self.node.ports.entropy.fill(&mut bytes)?;
        Ok(u64::from_be_bytes(bytes))
    }

    /// 32 random hexadecimal digits.
    pub(crate) fn nonce(&self) -> Result<String, Problem> {
        let mut bytes = [0_u8; 16];
        self.node.ports.entropy.fill(&mut bytes)?;
        Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
    }

    /// Runs a unit of work until the store takes it. For what has happened already.
    pub(crate) async fn insist(&self, what: &str, change: impl Fn(&mut Work)) {
        for attempt in 0_u32.. {
            let (guard, mut work) = self.begin().await;
            change(&mut work);
            match self.commit(guard, work).await {
                Ok(()) => return,
                Err(problem) => tracing::error!(%problem, attempt, "{what} could not be recorded yet"),
            }
            tokio::time::sleep(std::time::Duration::from_millis(100 << attempt.min(6))).await;
        }
    }
}
