//! Estimates: how many rows a statement may touch, by the statistics of its server, told beside what is decided and never part of it.
//!
//! The statement itself is never sent for this: planning it would already run code of whoever made the functions and operators in it, with the
//! gateway's rights (docs/decisions/0038). Only names go there, only once an access request exists, and seldom: what was said is kept for a
//! minute, and each resource's server is asked one question at a time.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, OnceLock},
    time::Duration,
};

use parking_lot::Mutex;
use safeconduct_lifecycle::AccessState;
use safeconduct_model::{AccessRequestId, Digest, Postgres, Resource, ResourceName, SqlAction, Timestamp};
use safeconduct_sql::{Facts, StatementFacts, Usage, dotted, parts};

use crate::{
    door::allowed_database,
    identity::Caller,
    judge::statement_of,
    node::App,
    ports::{Relation, RelationKind, RelationName, Statistics},
    problem::Problem,
};

/// How many rows the tables hold that a statement names, and what that says about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Estimate {
    /// One sentence for whoever decides. It begins with `unknown` where nothing is known.
    pub summary: String,
    /// In the order in which the statement's facts name them.
    pub tables: Vec<TableEstimate>,
    /// When the server said so: the oldest of the figures.
    pub read_at: Option<Timestamp>,
}

/// How many rows one table holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableEstimate {
    /// With its schema once that is known; else as the statement names it.
    pub name: String,
    /// About so many, partitions included, when the server last counted.
    pub rows: Option<u64>,
    /// Why that is not known, if it is not.
    pub why_not: Option<String>,
}

/// Who asks the servers, and what they said lately.
#[derive(Default)]
pub(crate) struct Estimates {
    statistics: OnceLock<Arc<dyn Statistics>>,
    said: Mutex<HashMap<Place, Said>>,
    /// One for each resource; held by whoever asks its server.
    turns: Mutex<HashMap<ResourceName, Arc<Turn>>>,
}

/// A name in a database of a resource, as one bundle describes it.
type Place = (Digest, ResourceName, String, RelationName);
/// The server's last failure to say anything.
type Turn = tokio::sync::Mutex<Option<Failure>>;

#[derive(Clone)]
struct Said {
    relations: Vec<Relation>,
    at: Timestamp,
    boot: Duration,
}

struct Failure {
    bundle: Digest,
    database: String,
    why: String,
    boot: Duration,
}

/// Where a statement's tables are looked up.
struct Question<'q> {
    bundle: Digest,
    resource: &'q Resource,
    postgres: &'q Postgres,
    action: &'q SqlAction,
}

/// How long figures are good.
const KEPT: Duration = Duration::from_secs(60);
/// A server that did not answer is left alone for this long.
const FAILURE_KEPT: Duration = Duration::from_secs(10);
/// For an answer, and before that for a turn.
const PATIENCE: Duration = Duration::from_secs(2);
/// Most names kept.
const NAMES_KEPT: usize = 4096;
/// Most tables of one statement that are looked up.
const MOST_TABLES: usize = 32;
/// Longest name a server has.
const NAME_BYTES: usize = 63;

const SAID_BY: &str = " (the server's statistics)";

impl App {
    /// Who asks servers for their statistics. Set once, before anything is asked.
    pub fn set_statistics(&self, statistics: Arc<dyn Statistics>) {
        if self.node.estimates.statistics.set(statistics).is_err() {
            tracing::warn!("statistics are asked for by somebody already");
        }
    }

    /// How many rows an access request's statement may touch, as far as its server's statistics say. Nothing is recorded, and no figure is
    /// part of what is approved. What asks for no statement, or has run, has no tables in the answer and no server is asked.
    ///
    /// # Errors
    /// As [`App::access`]. A server that does not answer is no error: the figures are unknown then.
    pub async fn estimate(&self, caller: &Caller, id: &AccessRequestId) -> Result<Estimate, Problem> {
        let world = self.world();
        let access = self.load_access(id).await?.ok_or_else(|| Problem::not_found("access request"))?;
        if !self.sees(&world, caller, &access, self.now()) {
            return Err(Problem::not_found("access request"));
        }
        let Some(action) = statement_of(&access.envelope) else {
            return Ok(Estimate::unknown("it asks for no statement"));
        };
        if !matches!(access.state, AccessState::Pending | AccessState::Scheduled { .. } | AccessState::Ready { .. }) {
            return Ok(Estimate::unknown("it does not wait to be run"));
        }
        let Some(facts) = self.facts_of(&world, &access.envelope).filter(|facts| facts.unparsable.is_none()) else {
            return Ok(Estimate::unknown("the statement is not understood"));
        };
        let resource = world.resource(&access.envelope.resource);
        let offered = resource.filter(|resource| allowed_database(resource, Some(&action.database)).is_some());
        let Some((resource, postgres)) = offered.and_then(|resource| Some((resource, resource.postgres()?))) else {
            return Ok(Estimate::unknown("there is no such database any more"));
        };
        let question = Question { bundle: world.bundle.hash, resource, postgres, action };
        let names = names_of(&facts);
        let wanted: BTreeMap<&str, Result<RelationName, String>> =
            names.iter().take(MOST_TABLES).map(|(name, _)| (*name, question.relation(name))).collect();
        let (said, unsaid) = self.said_of(&question, wanted.values().filter_map(|wanted| wanted.as_ref().ok())).await;
        let mut tables = Vec::new();
        let mut read_at = None;
        for (name, defined) in &names {
            let table = match wanted.get(name) {
                None => TableEstimate::unknown(name, "there are too many tables to look at them all"),
                Some(Err(why)) => TableEstimate::unknown(name, why),
                Some(Ok(relation)) => match (said.get(relation), &unsaid) {
                    // A function, a type, or a table that is yet to be made.
                    (Some(said), _) if *defined && said.relations.iter().all(|found| found.kind == RelationKind::Other) => continue,
                    (Some(said), _) => {
                        let table = TableEstimate::of(name, relation, &said.relations);
                        read_at = [read_at, table.rows.map(|_| said.at)].into_iter().flatten().min();
                        table
                    }
                    (None, why) => TableEstimate::unknown(name, why.as_deref().unwrap_or("the server did not say")),
                },
            };
            tables.push((*name, table));
        }
        let summary = summary(&facts, &tables.iter().map(|(name, table)| (*name, table)).collect());
        Ok(Estimate { summary, tables: tables.into_iter().map(|(_, table)| table).collect(), read_at })
    }

    /// What is known of these names, asking the server for those that are not; and why it did not say, if it did not.
    async fn said_of(
        &self,
        question: &Question<'_>,
        wanted: impl Iterator<Item = &RelationName>,
    ) -> (HashMap<RelationName, Said>, Option<String>) {
        let estimates = &self.node.estimates;
        let wanted: BTreeSet<&RelationName> = wanted.collect();
        let known = |missing: &mut Vec<RelationName>| {
            let (boot, said) = (self.node.ports.clock.boot(), estimates.said.lock());
            let mut known = HashMap::new();
            for name in &wanted {
                match said.get(&question.place(name)).filter(|said| boot.saturating_sub(said.boot) < KEPT) {
                    Some(said) => drop(known.insert((*name).clone(), said.clone())),
                    None => missing.push((*name).clone()),
                }
            }
            known
        };
        let mut missing = Vec::new();
        let before = known(&mut missing);
        if missing.is_empty() {
            return (before, None);
        }
        let Some(statistics) = estimates.statistics.get() else {
            return (before, Some("this gateway asks no servers".to_owned()));
        };
        let turn = Arc::clone(estimates.turns.lock().entry(question.resource.name.clone()).or_default());
        let Ok(mut last_failure) = tokio::time::timeout(PATIENCE, turn.lock()).await else {
            return (before, Some("others ask the server at the moment".to_owned()));
        };
        // Whoever had the turn before may have asked for the same.
        missing.clear();
        let mut all = known(&mut missing);
        if missing.is_empty() {
            return (all, None);
        }
        let (boot, database) = (self.node.ports.clock.boot(), &question.action.database);
        let is_this = |failure: &&Failure| failure.bundle == question.bundle && failure.database == *database;
        if let Some(failure) = last_failure.as_ref().filter(is_this).filter(|failure| boot.saturating_sub(failure.boot) < FAILURE_KEPT) {
            return (all, Some(failure.why.clone()));
        }
        let asked = tokio::time::timeout(PATIENCE, statistics.sizes(question.resource, database, &missing)).await;
        let why = match asked {
            Ok(Ok(sizes)) if sizes.len() == missing.len() => {
                let said = |relations| Said { relations, at: self.now(), boot };
                let new: Vec<(RelationName, Said)> = missing.into_iter().zip(sizes.into_iter().map(said)).collect();
                estimates.keep(new.iter().map(|(name, said)| (question.place(name), said.clone())), boot);
                all.extend(new);
                *last_failure = None;
                return (all, None);
            }
            Ok(Ok(_)) => "the server's answer makes no sense".to_owned(),
            Ok(Err(unsaid)) => unsaid.to_string(),
            Err(_) => "the server did not answer in time".to_owned(),
        };
        *last_failure = Some(Failure { bundle: question.bundle, database: database.clone(), why: why.clone(), boot });
        (all, Some(why))
    }
}

impl Estimates {
    fn keep(&self, new: impl Iterator<Item = (Place, Said)>, boot: Duration) {
        let mut said = self.said.lock();
        if said.len() >= NAMES_KEPT {
            said.retain(|_, said| boot.saturating_sub(said.boot) < KEPT);
        }
        for (place, new) in new {
            if said.len() >= NAMES_KEPT {
                said.clear();
            }
            said.insert(place, new);
        }
    }
}

impl Question<'_> {
    fn place(&self, name: &RelationName) -> Place {
        (self.bundle, self.resource.name.clone(), self.action.database.clone(), name.clone())
    }

    /// Where to look for a name of the facts.
    fn relation(&self, written: &str) -> Result<RelationName, String> {
        let mut parts = parts(written).unwrap_or_default();
        if parts.is_empty() || parts.iter().any(|part| part.len() > NAME_BYTES) {
            return Err("no table can have this name".to_owned());
        }
        let name = parts.pop().unwrap_or_default();
        let schemas = match parts.as_slice() {
            [] => self.search_path()?,
            [schema] => vec![schema.clone()],
            [database, schema] if *database == self.action.database => vec![schema.clone()],
            _ => return Err("it names another database".to_owned()),
        };
        if schemas.iter().any(|schema| schema == "pg_temp" || schema.starts_with("pg_temp_")) {
            return Err("temporary tables are their session's own".to_owned());
        }
        Ok(RelationName { schemas, name })
    }

    /// The schemas in which sessions look names up. Temporary objects come last there, and are not looked for.
    fn search_path(&self) -> Result<Vec<String>, String> {
        let set = self.action.settings.iter().find(|(name, _)| name.eq_ignore_ascii_case("search_path"));
        let path = match set {
            None => self.postgres.search_path.clone(),
            // A list is not told from one odd name here.
            Some((_, value)) if parts(value).is_some_and(|parts| matches!(parts.as_slice(), [schema] if schema == value)) => {
                vec![value.clone()]
            }
            Some(_) => return Err("its session looks names up elsewhere".to_owned()),
        };
        // A session's own login has no schema of its name.
        let user = self.postgres.credentials.minted().is_none().then(|| self.postgres.credentials.stored().0);
        let path = path.into_iter().filter_map(|schema| if schema == "$user" { user.cloned() } else { Some(schema) });
        let path = path.filter(|schema| schema != "pg_temp");
        let mut schemas: Vec<String> = Vec::new();
        for schema in std::iter::once("pg_catalog".to_owned()).chain(path) {
            if !schemas.contains(&schema) {
                schemas.push(schema);
            }
        }
        Ok(schemas)
    }
}

impl Estimate {
    fn unknown(why: &str) -> Self {
        Self { summary: format!("unknown: {why}"), tables: Vec::new(), read_at: None }
    }
}

impl TableEstimate {
    fn unknown(name: &str, why: &str) -> Self {
        Self { name: name.to_owned(), rows: None, why_not: Some(why.to_owned()) }
    }

    fn of(written: &str, asked: &RelationName, found: &[Relation]) -> Self {
        let [relation] = found else {
            let why = if found.is_empty() { "sessions would find no table of this name" } else { "the name is in more than one schema" };
            return Self::unknown(written, why);
        };
        let name = dotted(&[&relation.schema, &asked.name]);
        match relation {
            Relation { kind: RelationKind::View, .. } => Self::unknown(&name, "a view has no statistics of its own"),
            Relation { kind: RelationKind::Other, .. } => Self::unknown(&name, "it is no table"),
            Relation { tables, uncounted, .. } if uncounted >= tables => Self::unknown(&name, "the server never counted its rows"),
            Relation { uncounted: 0, rows, .. } => Self { name, rows: Some(*rows), why_not: None },
            Relation { tables, uncounted, rows, .. } => {
                let counted = tables.saturating_sub(*uncounted);
                Self::unknown(&name, &format!("the server counted {counted} of its {tables} parts, with about {}", count(*rows)))
            }
        }
    }
}

/// Names of tables, each with whether it is only ever defined: then it may be of something else.
fn names_of(facts: &Facts) -> Vec<(&str, bool)> {
    let mut names: Vec<(&str, bool)> = Vec::new();
    for object in facts.statements.iter().flat_map(|statement| &statement.objects) {
        let defined = object.usage == Usage::Ddl;
        match names.iter_mut().find(|(name, _)| *name == object.name) {
            Some((_, before)) => *before &= defined,
            None => names.push((&object.name, defined)),
        }
        // One more than is looked up says that there are more.
        if names.len() > MOST_TABLES {
            break;
        }
    }
    names
}

/// What may be said of a statement's tables.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Touches {
    AtMost,
    Every,
    /// Anything from nothing to more than there is.
    Anything,
}

/// The tables of a statement whose rows count, and what it does to them.
fn touched(statement: &StatementFacts) -> (Vec<&str>, Touches) {
    let written = || statement.objects.iter().filter(|object| object.usage == Usage::Write).map(|object| object.name.as_str());
    let command = statement.command.strip_prefix("EXPLAIN ANALYZE ").unwrap_or(&statement.command);
    let touches = match (command, statement.has_where) {
        ("TRUNCATE", _) => Touches::Every,
        // Of several that are written, nothing says which one the condition is for.
        ("UPDATE" | "DELETE", Some(has_where)) if written().count() == 1 => {
            if has_where {
                Touches::AtMost
            } else {
                Touches::Every
            }
        }
        _ => return (statement.objects.iter().map(|object| object.name.as_str()).collect(), Touches::Anything),
    };
    (written().collect(), touches)
}

/// One sentence about all of it.
fn summary(facts: &Facts, tables: &HashMap<&str, &TableEstimate>) -> String {
    let (mut known, mut unknown): (Vec<String>, Vec<(&str, &str)>) = Default::default();
    for statement in &facts.statements {
        let (names, touches) = touched(statement);
        for table in names.iter().filter_map(|name| tables.get(name)) {
            let Some(rows) = table.rows else {
                let pair = (table.name.as_str(), table.why_not.as_deref().unwrap_or_default());
                if !unknown.contains(&pair) {
                    unknown.push(pair);
                }
                continue;
            };
            let (rows, name) = (count(rows), &table.name);
            let part = match touches {
                Touches::AtMost => format!("at most about {rows} of {name}"),
                Touches::Every => format!("about {rows} of {name}: every row"),
                Touches::Anything => format!("{name} holds about {rows}"),
            };
            if !known.contains(&part) {
                known.push(part);
            }
        }
    }
    match (known.is_empty(), unknown.as_slice()) {
        (true, []) => "unknown: the statement names no table".to_owned(),
        (true, [(name, why)]) => format!("unknown: {why} ({name})"),
        (true, several) if several.iter().all(|(_, why)| *why == several[0].1) => format!("unknown: {}", several[0].1),
        (true, several) => {
            format!("unknown: {}", several.iter().map(|(name, why)| format!("{why} ({name})")).collect::<Vec<_>>().join("; "))
        }
        (false, unknown) => {
            let mut summary = format!("{}{SAID_BY}", known.join("; "));
            for (name, why) in unknown {
                summary.push_str(&format!("; of {name} unknown: {why}"));
            }
            summary
        }
    }
}

/// `1,200,000 rows`.
fn count(rows: u64) -> String {
    let digits = rows.to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    format!("{grouped} {}", if rows == 1 { "row" } else { "rows" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f42_names_that_are_kept_are_bounded_and_old_ones_go_first() {
        let estimates = Estimates::default();
        let said = |boot| Said { relations: Vec::new(), at: Timestamp::from_micros(0), boot };
        let place = |number: usize| {
            let name = RelationName { schemas: vec!["public".to_owned()], name: format!("t{number}") };
            (Digest::of_bytes(b""), "orders-db".parse().unwrap(), "orders".to_owned(), name)
        };
        let keep = |numbers: std::ops::Range<usize>, boot| {
            for number in numbers {
                estimates.keep(std::iter::once((place(number), said(boot))), boot);
                assert!(estimates.said.lock().len() <= NAMES_KEPT);
            }
        };
        keep(0..NAMES_KEPT - 1, Duration::ZERO);
        keep(NAMES_KEPT..NAMES_KEPT + 2, KEPT);
        assert_eq!(estimates.said.lock().len(), 2, "what is no use was dropped, and the rest kept");
        keep(0..3 * NAMES_KEPT, KEPT);
    }

    #[test]
    fn f32_names_are_looked_for_where_the_session_looks_and_nowhere_if_that_is_not_sure() {
        let mut resource = safeconduct_testkit::postgres_resource("orders-db");
        let safeconduct_model::ResourceKind::Postgres(postgres) = &mut resource.kind else { panic!() };
        postgres.search_path = ["$user", "pg_temp", "shop", "public", "shop"].map(str::to_owned).into();
        let user = postgres.credentials.stored().0.clone();
        let schemas = |set: Option<(&str, &str)>| {
            let settings = set.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            let action = SqlAction { settings, ..safeconduct_testkit::sql("select") };
            let postgres = resource.postgres().unwrap();
            let question = Question { bundle: Digest::of_bytes(b""), resource: &resource, postgres, action: &action };
            question.relation("orders").map(|found| found.schemas.join(" "))
        };
        let usual = format!("pg_catalog {user} shop public");
        assert_eq!(schemas(None).unwrap(), usual);
        assert_eq!(schemas(Some(("datestyle", "ISO, DMY"))).unwrap(), usual);
        assert_eq!(schemas(Some(("search_path", "archive"))).unwrap(), "pg_catalog archive");
        for unsure in ["archive, public", "\"archive\"", "Archive", "", "a.b"] {
            assert_eq!(schemas(Some(("search_path", unsure))).unwrap_err(), "its session looks names up elsewhere", "{unsure}");
        }
    }

    #[test]
    fn numbers_are_grouped() {
        for (rows, said) in [(0, "0 rows"), (1, "1 row"), (999, "999 rows"), (1_000, "1,000 rows"), (1_234_567, "1,234,567 rows")] {
            assert_eq!(count(rows), said);
        }
    }
}
