//! Meters: what this node counts and times, as Prometheus reads it. Decides nothing; nothing waits for it.
//!
//! Handles are made once, at start: whoever measures looks up no label and takes no lock. Labels are kinds of things, groups and resources
//! that policy names; never a principal, a statement or an id.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use prometheus::{
    Encoder as _, Error, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder, core::Collector,
};
use safeconduct_lifecycle::{Access, AccessEvent, Event};
use safeconduct_model::Timestamp;

use crate::{authorize::Verdict, ports::StoreError};

/// Bounds, in seconds, of what takes microseconds: a decision, a statement's way through the gateway.
const QUICK: &[f64] = &[2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 5e-3, 2e-2, 0.1, 1.0];
/// Of what waits for a disk or for another machine.
const WAITING: &[f64] = &[5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0];
/// Of what waits for people.
const PEOPLE: &[f64] = &[5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0, 14_400.0, 28_800.0, 86_400.0];

/// One decision in so many is timed. All are counted.
const TIMED: u64 = 8;

/// Everything that is counted and timed.
pub struct Meters {
    registry: Registry,
    /// From asking to a usable grant, where policy allows by itself.
    pub grant: Times,
    /// One decision about a statement.
    pub authorize: Times,
    /// The gateway's own time between what a client sent and what goes on to the server, records included.
    pub statement: Times,
    /// From an accepted connection to a proved secret.
    pub sign_in: Times,
    /// From a proved secret to a session that takes statements.
    pub open: Times,
    /// From the end of the last grant (its deadline, or the act) to the client's socket closed.
    pub cut_client: Times,
    /// The same, to the end of the server's process for it.
    pub cut_backend: Times,
    /// One transaction of the store.
    pub append: Times,
    /// A journal on disk before a statement goes on.
    pub sync: Times,
    asked: AtomicU64,
    permits: IntCounter,
    held: IntCounter,
    refused: [IntCounter; Turned::ALL.len()],
    decision: HistogramVec,
    events: IntCounterVec,
    store_errors: IntCounter,
    recorder_errors: IntCounter,
    upstream_failures: IntCounterVec,
    bells: IntCounterVec,
    sessions: IntGauge,
    holds: IntGauge,
    runs: IntGauge,
    pending: IntGauge,
    grants: IntGaugeVec,
    credentials: IntGauge,
    frozen: IntGauge,
    ready: IntGauge,
    bundle_failed: IntGauge,
    entries: IntGauge,
    uncovered: IntGauge,
    lag: IntGauge,
    /// When every entry was last covered by a checkpoint, in milliseconds of the boot clock.
    covered_at: AtomicU64,
}

/// A histogram of durations.
#[derive(Clone)]
pub struct Times(Histogram);

impl Times {
    /// Adds one.
    pub fn took(&self, time: Duration) {
        self.0.observe(time.as_secs_f64());
    }

    /// How many took how long.
    #[must_use]
    pub fn spread(&self) -> TimeSpread {
        let families = self.0.collect();
        let Some(metric) = families.first().and_then(|family| family.get_metric().first()) else { return TimeSpread::default() };
        let histogram = metric.get_histogram();
        let mut before = 0;
        let within = histogram.get_bucket().iter().filter(|bucket| bucket.upper_bound().is_finite()).map(|bucket| {
            let count = bucket.cumulative_count().saturating_sub(before);
            before = bucket.cumulative_count();
            (Duration::from_secs_f64(bucket.upper_bound()), count)
        });
        let within: Vec<_> = within.collect();
        TimeSpread { within, longer: histogram.get_sample_count().saturating_sub(before) }
    }
}

/// Counts of durations by how long they were.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TimeSpread {
    /// Bounds, the smallest first, each with how many took at most that and longer than the bound before.
    pub within: Vec<(Duration, u64)>,
    /// Longer than every bound.
    pub longer: u64,
}

/// Why somebody was turned away or a statement did not pass. A closed list: it is a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turned {
    /// Wrong secret, unknown name or resource: before the door has proof of anything.
    SignIn,
    /// A right secret without a live grant.
    NoGrant,
    /// The session could not be recorded.
    Unrecorded,
    /// The door is full.
    Full,
    /// No grant covers the statement and it can't be asked for here, or policy denies it.
    Statement,
    /// The session is over.
    Over,
}

impl Turned {
    const ALL: [Self; 6] = [Self::SignIn, Self::NoGrant, Self::Unrecorded, Self::Full, Self::Statement, Self::Over];

    const fn name(self) -> &'static str {
        match self {
            Self::SignIn => "sign_in",
            Self::NoGrant => "no_grant",
            Self::Unrecorded => "unrecorded",
            Self::Full => "full",
            Self::Statement => "statement",
            Self::Over => "session_over",
        }
    }
}

/// What is looked up when somebody reads the figures.
pub(crate) struct Standing {
    pub sessions: usize,
    pub holds: usize,
    pub runs: usize,
    pub pending: usize,
    pub grants: Vec<(String, usize)>,
    pub frozen: bool,
    pub ready: bool,
    /// Size of the ledger, if the store says.
    pub entries: Option<u64>,
    pub covered: u64,
    pub boot: Duration,
}

impl Meters {
    pub(crate) fn new() -> Result<Self, Error> {
        let r = Registry::new();
        let build = kept(&r, IntGaugeVec::new(Opts::new("safeconduct_build_info", "Which version runs; always 1."), &["version"])?)?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let refused =
            counters(&r, "safeconduct_refusals_total", "Connections turned away and statements that did not pass, by reason.", "reason")?;
        let refused = Turned::ALL.map(|reason| refused.with_label_values(&[reason.name()]));
        let verdicts = counters(&r, "safeconduct_verdicts_total", "Decisions about statements, by verdict.", "verdict")?;
        let times = |name: &str, help: &str, bounds: &[f64]| -> Result<Times, Error> {
            let options = HistogramOpts::new(format!("safeconduct_{name}_seconds"), help).buckets(bounds.to_vec());
            kept(&r, Histogram::with_opts(options)?).map(Times)
        };
        let cut = HistogramOpts::new("safeconduct_cut_seconds", "From the end of a session's last grant to its client and backend gone.");
        let cut = kept(&r, HistogramVec::new(cut.buckets(WAITING.to_vec()), &["gone"])?)?;
        let decision = HistogramOpts::new("safeconduct_decision_seconds", "From asking to the end of waiting for people, by group asked.");
        Ok(Self {
            grant: times("grant", "From asking to a usable grant that policy gave by itself.", WAITING)?,
            authorize: times("authorize", "One decision about a statement.", QUICK)?,
            statement: times("statement_overhead", "The gateway's own time before what a client sent goes on, records included.", QUICK)?,
            sign_in: times("sign_in", "From an accepted connection at a door to a proved secret.", WAITING)?,
            open: times("session_open", "From a proved secret to a session that takes statements.", WAITING)?,
            cut_client: Times(cut.with_label_values(&["client"])),
            cut_backend: Times(cut.with_label_values(&["backend"])),
            append: times("store_append", "One transaction of the store, with its ledger entries.", WAITING)?,
            sync: times("journal_sync", "A session's journal on disk before a statement goes on.", WAITING)?,
            asked: AtomicU64::new(0),
            permits: verdicts.with_label_values(&["permit"]),
            held: verdicts.with_label_values(&["hold"]),
            refused,
            decision: kept(&r, HistogramVec::new(decision.buckets(PEOPLE.to_vec()), &["group"])?)?,
            events: counters(&r, "safeconduct_events_total", "What became true, by the name it has in the ledger.", "kind")?,
            store_errors: kept(&r, IntCounter::new("safeconduct_store_errors_total", "Writes the store did not take.")?)?,
            recorder_errors: kept(&r, IntCounter::new("safeconduct_recorder_errors_total", "Records of sessions not written or synced.")?)?,
            upstream_failures: counters(
                &r,
                "safeconduct_upstream_connect_failures_total",
                "Connections to a resource that failed, sign-in there included.",
                "resource",
            )?,
            bells: kept(
                &r,
                IntCounterVec::new(
                    Opts::new("safeconduct_doorbell_rings_total", "Tries to ring a doorbell, by its name and by what came of it."),
                    &["doorbell", "result"],
                )?,
            )?,
            sessions: gauge(&r, "sessions_live", "Sessions that are open.")?,
            holds: gauge(&r, "holds_open", "Statements that wait for people.")?,
            runs: gauge(&r, "runs_live", "Exact actions that run.")?,
            pending: gauge(&r, "access_requests_pending", "Access requests that wait for people.")?,
            grants: kept(&r, IntGaugeVec::new(Opts::new("safeconduct_grants_live", "Grants that are live, by resource."), &["resource"])?)?,
            credentials: gauge(&r, "credentials_unretired", "Credentials whose grants are over and that are not proved retired.")?,
            frozen: gauge(&r, "clock_in_doubt", "1 while the clock is in doubt and no grant is live.")?,
            ready: gauge(&r, "ready", "1 while the gateway takes sessions.")?,
            bundle_failed: gauge(&r, "bundle_failed", "1 while the watched bundle is not the one that applies.")?,
            entries: gauge(&r, "ledger_entries", "Entries in the ledger.")?,
            uncovered: gauge(&r, "ledger_uncovered_entries", "Entries that no checkpoint covers.")?,
            lag: gauge(&r, "ledger_checkpoint_lag_seconds", "Time since every entry was covered by a checkpoint.")?,
            covered_at: AtomicU64::new(0),
            registry: r,
        })
    }

    /// Counts one that was turned away.
    pub fn turned_away(&self, why: Turned) {
        if let Some((_, counter)) = Turned::ALL.iter().zip(&self.refused).find(|(reason, _)| **reason == why) {
            counter.inc();
        }
    }

    /// Counts a connection to a resource that failed.
    pub fn upstream_failed(&self, resource: &str) {
        self.upstream_failures.with_label_values(&[resource]).inc();
    }

    /// Counts a try to ring a doorbell.
    pub fn bell_rang(&self, doorbell: &str, well: bool) {
        self.bells.with_label_values(&[doorbell, if well { "rang" } else { "failed" }]).inc();
    }

    /// How many credentials are over and not proved retired.
    pub fn credentials_unretired(&self, how_many: usize) {
        self.credentials.set(whole(how_many));
    }

    /// Says whether the bundle that is watched applies.
    pub fn bundle_applies(&self, applies: bool) {
        self.bundle_failed.set(i64::from(!applies));
    }

    /// True for one decision in [`TIMED`], the first among them: reading the clock twice costs as much as the rest of a decision.
    pub(crate) fn is_timed(&self) -> bool {
        self.asked.fetch_add(1, Ordering::Relaxed).is_multiple_of(TIMED)
    }

    pub(crate) fn verdict(&self, verdict: &Verdict) {
        match verdict {
            Verdict::Permit(_) => self.permits.inc(),
            Verdict::Hold => self.held.inc(),
            Verdict::Refuse(refusal) if refusal.sqlstate == "57P01" => self.turned_away(Turned::Over),
            Verdict::Refuse(_) => self.turned_away(Turned::Statement),
        }
    }

    pub(crate) fn stored<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        if matches!(result, Err(StoreError::Unavailable(_) | StoreError::Corrupt { .. })) {
            self.store_errors.inc();
        }
        result
    }

    pub(crate) fn not_recorded(&self) {
        self.recorder_errors.inc();
    }

    /// Counts an event and, if it ended the waiting of `access`, how long people took.
    pub(crate) fn event(&self, event: &Event, access: Option<&Access>, now: Timestamp) {
        self.events.with_label_values(&[event.kind()]).inc();
        let decided = matches!(event, Event::Access(event)
            if matches!(**event, AccessEvent::Granted { .. } | AccessEvent::Denied { .. } | AccessEvent::Lapsed { .. }));
        let Some(access) = access.filter(|_| decided) else { return };
        if let Some(quorum) = &access.envelope.quorum {
            let micros = now.micros().saturating_sub(access.envelope.asked_at.micros());
            let seconds = Duration::from_micros(u64::try_from(micros).unwrap_or(0)).as_secs_f64();
            let groups: std::collections::BTreeSet<&str> =
                quorum.any_of.iter().flat_map(|bar| &bar.groups).map(|group| group.as_str()).collect();
            if groups.is_empty() {
                self.decision.with_label_values(&["anyone"]).observe(seconds);
            }
            for group in groups {
                self.decision.with_label_values(&[group]).observe(seconds);
            }
        }
    }

    /// Every entry is covered by a checkpoint at this moment.
    pub(crate) fn covered(&self, boot: Duration) {
        self.covered_at.store(u64::try_from(boot.as_millis()).unwrap_or(u64::MAX), Ordering::Release);
    }

    /// All figures in Prometheus' text format.
    pub(crate) fn text(&self, standing: &Standing) -> String {
        self.sessions.set(whole(standing.sessions));
        self.holds.set(whole(standing.holds));
        self.runs.set(whole(standing.runs));
        self.pending.set(whole(standing.pending));
        self.frozen.set(i64::from(standing.frozen));
        self.ready.set(i64::from(standing.ready));
        self.grants.reset();
        for (resource, live) in &standing.grants {
            self.grants.with_label_values(&[resource]).set(whole(*live));
        }
        if let Some(entries) = standing.entries {
            self.entries.set(i64::try_from(entries).unwrap_or(i64::MAX));
            self.uncovered.set(i64::try_from(entries.saturating_sub(standing.covered)).unwrap_or(i64::MAX));
        }
        let boot = u64::try_from(standing.boot.as_millis()).unwrap_or(u64::MAX);
        let lag = boot.saturating_sub(self.covered_at.load(Ordering::Acquire)) / 1000;
        self.lag.set(i64::try_from(lag).unwrap_or(i64::MAX));
        let mut out = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut out) {
            tracing::error!(%error, "the figures can't be written");
        }
        String::from_utf8(out).unwrap_or_default()
    }
}

fn whole(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn kept<C: Collector + Clone + 'static>(registry: &Registry, what: C) -> Result<C, Error> {
    registry.register(Box::new(what.clone())).map(|()| what)
}

fn gauge(registry: &Registry, name: &str, help: &str) -> Result<IntGauge, Error> {
    kept(registry, IntGauge::new(format!("safeconduct_{name}"), help)?)
}

fn counters(registry: &Registry, name: &str, help: &str, label: &str) -> Result<IntCounterVec, Error> {
    kept(registry, IntCounterVec::new(Opts::new(name, help), &[label])?)
}
