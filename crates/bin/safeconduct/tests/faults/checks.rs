//! What must hold after a kill: found out from the store as it was left, the journals, the database and its log.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};

use safeconduct_app::ports::{Record, Store as _, What};
use safeconduct_lifecycle::{Access, AccessState, Event, ExactOutcome, StreamId, TransactionEnd, evolve};
use safeconduct_model::{Action, Origin, Scope};
use safeconduct_store_sqlite::SqliteStore;
use safeconduct_system::SystemEntropy;
use safeconduct_testkit::PostgresServer;

use crate::{
    api::{Api, state},
    load::Confirmed,
};

/// Access requests as the killed gateway left them in the store.
pub struct Left {
    pub access: BTreeMap<String, Access>,
    pub entries: u64,
}

impl Left {
    /// Reads a copy, so that recovering the store itself is left to the gateway.
    pub async fn behind(data: &Path) -> Self {
        let copy = tempfile::tempdir().unwrap();
        for name in ["safeconduct.db", "safeconduct.db-wal"] {
            if data.join(name).exists() {
                std::fs::copy(data.join(name), copy.path().join(name)).unwrap();
            }
        }
        let store = SqliteStore::open(copy.path().join("safeconduct.db"), Arc::new(SystemEntropy)).unwrap();
        let mut access: BTreeMap<String, Access> = BTreeMap::new();
        let mut from = 0;
        loop {
            let stored = store.events_from(from, 1000).await.unwrap();
            let Some(last) = stored.last() else { break };
            assert_eq!((stored[0].index, last.index), (from, from + stored.len() as u64 - 1), "the ledger has a gap");
            from = last.index + 1;
            for entry in &stored {
                if let (StreamId::Access(id), Some(Event::Access(event))) = (&entry.stream, &entry.event) {
                    let before = access.remove(id.as_str());
                    access.insert(id.as_str().to_owned(), evolve(before, event).unwrap());
                }
            }
        }
        Self { access, entries: from }
    }

    /// What was confirmed is there.
    pub fn hold_what_was_confirmed(&self, confirmed: &Confirmed) {
        for (id, (state, deadline)) in &confirmed.states {
            let left = self.access.get(id).unwrap_or_else(|| panic!("{id} was confirmed as {state} and is not in the store"));
            let now = left.state.name();
            let went_on = match state.as_str() {
                "pending" => true,
                "active" => matches!(now, "active" | "released" | "revoked"),
                "ready" => matches!(now, "ready" | "claimed" | "settled"),
                same => now == same,
            };
            assert!(went_on, "{id} was confirmed as {state}, the store has {now}");
            if (state.as_str(), now) == ("active", "active") && !self.was_extended(id) {
                assert_eq!(*deadline, left.deadline().map(|at| at.to_string()), "{id}");
            }
        }
        for (id, outcome) in &confirmed.outcomes {
            let AccessState::Settled { outcome: stored, .. } = &self.access[id].state else {
                panic!("{id}: its outcome was told: {outcome}")
            };
            assert_eq!(outcome["outcome"], name(stored), "{id}");
        }
    }

    fn was_extended(&self, id: &str) -> bool {
        let extends = |access: &Access| matches!(&access.envelope.origin, Origin::Extension { of } if of.access_request().as_str() == id);
        self.access.values().any(extends)
    }

    /// The restarted gateway goes on from exactly there.
    pub async fn go_on(&self, auditor: &Api, from: &BTreeSet<String>) {
        for (id, left) in self.access.iter().filter(|(id, _)| !from.contains(*id)) {
            let view = auditor.show(id).await.unwrap();
            let held = matches!(left.envelope.origin, Origin::Held { .. });
            let wanted = match &left.state {
                AccessState::Pending if held => "withdrawn",
                AccessState::Ready { .. } if held => "revoked",
                AccessState::Claimed { .. } => "settled",
                same => same.name(),
            };
            assert_eq!(state(&view), wanted, "{id} was {}", left.state.name());
            if wanted == left.state.name() && !left.state.is_final() {
                assert_eq!(view["deadline"].as_str().map(ToOwned::to_owned), left.deadline().map(|at| at.to_string()), "{id}");
            }
            match &left.state {
                AccessState::Claimed { .. } => assert_eq!(view["outcome"]["outcome"], "unknown", "{id}: nobody can know how it ended"),
                AccessState::Settled { outcome, .. } => assert_eq!(view["outcome"]["outcome"], name(outcome), "{id}"),
                _ => {}
            }
        }
    }

    /// What the store says about exact actions, and what the database shows of them.
    pub fn agree_with(&self, marks: &BTreeMap<i64, u64>, ran: &Ran) {
        for (id, access) in &self.access {
            let Scope::Exact { action: Action::Sql(sql), .. } = &access.envelope.scope else { continue };
            let runs = ran.texts.get(&sql.text).copied().unwrap_or_default();
            let Some(mark) = mark_in(&sql.text) else { continue };
            let effects = marks.get(&mark).copied().unwrap_or_default();
            assert!(runs <= 1 && effects <= 1, "{id} ran {runs} times, with {effects} effects: {}", sql.text);
            match &access.state {
                AccessState::Settled { outcome: ExactOutcome::Executed { transaction, .. }, .. } => {
                    assert_eq!(effects == 1, *transaction == TransactionEnd::Committed, "{id}: {}", sql.text);
                }
                AccessState::Settled { outcome: ExactOutcome::Failed { .. }, .. } => assert_eq!(effects, 0, "{id}"),
                // Taken up, or its answer lost: it may have run.
                AccessState::Claimed { .. } | AccessState::Settled { outcome: ExactOutcome::Unknown { .. }, .. } => {}
                other => assert_eq!((runs, effects), (0, 0), "{id} is {} and was seen at the server: {}", other.name(), sql.text),
            }
        }
    }
}

fn name(outcome: &ExactOutcome) -> &'static str {
    match outcome {
        ExactOutcome::Executed { .. } => "executed",
        ExactOutcome::Failed { .. } => "failed",
        ExactOutcome::RefusedNotRun { .. } => "refused_not_run",
        ExactOutcome::Unknown { .. } => "unknown",
    }
}

fn mark_in(text: &str) -> Option<i64> {
    text.strip_prefix("INSERT INTO marks VALUES (")?.split(',').next()?.parse().ok()
}

/// What reached the database, by its own log.
#[derive(Default)]
pub struct Ran {
    /// By session and text.
    sessions: BTreeMap<(String, String), u64>,
    texts: BTreeMap<String, u64>,
}

impl Ran {
    /// Waits until nothing of the gateway's is left at the server, then reads what the log says.
    pub fn until_quiet(server: &PostgresServer) -> Self {
        let ours = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'safeconduct%' AND backend_type = 'client backend'";
        while server.psql_superuser(ours) != "0" {
            std::thread::yield_now();
        }
        // The log is a pipe: what was written before this mark was read before it.
        let mark = format!("mark {:?}", std::time::Instant::now());
        let _ = server.psql_superuser(&format!("SELECT 1 /* {mark} */"));
        let mut log = server.take_log();
        while !log.contains(&mark) {
            std::thread::yield_now();
            log.push_str(&server.take_log());
        }
        let mut ran = Self::default();
        for line in log.lines() {
            let Some((head, text)) = line.split_once("LOG:  statement: ").or_else(|| executed(line)) else { continue };
            if OWN.contains(&text) {
                continue;
            }
            let Some((_, session)) = head.split_once(" safeconduct se-") else { continue };
            let session = format!("se-{}", session.split_whitespace().next().unwrap());
            *ran.sessions.entry((session, text.to_owned())).or_default() += 1;
            *ran.texts.entry(text.to_owned()).or_default() += 1;
        }
        ran
    }

    /// Every one of them has its intent: in the journal of its session, or as an exact action that was taken up.
    pub fn were_intended(&self, recordings: &Path, left: &Left) {
        let mut journals: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
        for ((session, text), count) in &self.sessions {
            let folder = recordings.join("sessions").join(session);
            if !folder.exists() {
                let taken = left
                    .access
                    .values()
                    .find(|access| matches!(&access.envelope.scope, Scope::Exact { action: Action::Sql(sql), .. } if sql.text == *text));
                let state = taken.map(|access| access.state.name());
                assert!(matches!(state, Some("claimed" | "settled")), "{session} ran `{text}` without an intent: {state:?}");
                continue;
            }
            let intents = journals.entry(session.clone()).or_insert_with(|| intents(&folder));
            let intended = intents.get(text).copied().unwrap_or_default();
            assert!(*count <= intended, "{session} ran `{text}` {count} times with {intended} intents");
        }
    }

    pub fn statements(&self) -> u64 {
        self.texts.values().sum()
    }
}

/// What the gateway itself says on a session's connection, around a statement that may write. No client of the soak sends it.
const OWN: [&str; 2] = ["SET default_transaction_read_only TO on", "SET default_transaction_read_only TO off"];

/// `LOG:  execute NAME: TEXT`.
fn executed(line: &str) -> Option<(&str, &str)> {
    let (head, rest) = line.split_once("LOG:  execute ")?;
    Some((head, rest.split_once(": ")?.1))
}

fn intents(folder: &Path) -> BTreeMap<String, u64> {
    let mut intents = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        for line in std::fs::read_to_string(entry.unwrap().path()).unwrap().lines() {
            let record: Record = serde_json::from_str(line).unwrap();
            if let What::Intent { text, .. } = record.what {
                *intents.entry(text).or_default() += 1;
            }
        }
    }
    intents
}

/// How often each mark is in the table.
pub fn marks(server: &PostgresServer) -> BTreeMap<i64, u64> {
    let rows = server.psql_superuser("SELECT id, count(*) FROM marks GROUP BY id");
    rows.lines().map(|row| row.split_once('|').unwrap()).map(|(id, count)| (id.parse().unwrap(), count.parse().unwrap())).collect()
}

/// Confirmed marks are in the database, each once.
pub fn confirmed_marks(confirmed: &Confirmed, marks: &BTreeMap<i64, u64>) {
    for mark in &confirmed.marks {
        assert_eq!(marks.get(mark), Some(&1), "mark {mark} was confirmed");
    }
}

/// Waits until no login role that was made for a session is left: none outlives its grants, whatever was killed when.
pub fn until_no_minted_role(server: &PostgresServer) {
    let began = std::time::Instant::now();
    loop {
        let roles = server.psql_superuser(r"SELECT rolname FROM pg_roles WHERE rolname LIKE 'safeconduct\_%'");
        if roles.is_empty() {
            return;
        }
        assert!(began.elapsed() < crate::node::PATIENCE, "left at the server: {roles}");
    }
}

/// Told once each, without a gap.
pub fn contiguous(news: &[u64]) {
    for pair in news.windows(2) {
        assert_eq!(pair[1], pair[0] + 1, "news have a gap or a repetition: {news:?}");
    }
}
