//! The one `authorize`: may this statement of this session pass now? Nothing else mints permits.
//!
//! A live grant must cover what the statement needs, its deadline must lie ahead, and policy must still say yes.
//! What no grant covers is held if policy says it may be asked for, else refused with the command that would ask.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use safeconduct_lifecycle::Access;
use safeconduct_model::{AccessRequestId, Audit, GrantId, Narrowing, Operation, OperationSet, Outcome, Permit, Resource, Scope, Timestamp};
use safeconduct_policy::{Approvals, AskedContext};
use safeconduct_sql::{Facts, ObjectUse, Usage};

use crate::{door::Door, judge::Question, node::App, world::World};

/// What a door asks about one statement.
#[derive(Clone, Copy, Debug)]
pub struct StatementAsk<'a> {
    pub facts: &'a Arc<Facts>,
    /// False where a hold can't be offered: temporary objects, undecodable parameters, a copy from the client.
    pub can_hold: bool,
    pub in_transaction: bool,
}

/// The answer to a statement.
#[derive(Debug)]
pub enum Verdict {
    /// Forward it once.
    Permit(Permit),
    /// Hold it and ask people.
    Hold,
    /// Answer with an error.
    Refuse(Refusal),
}

/// Why a statement does not pass, in the terms of PostgreSQL's errors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub sqlstate: &'static str,
    pub message: String,
    pub detail: Option<String>,
    /// The command that would ask for it.
    pub hint: Option<String>,
}

/// Rights a transaction has used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charge<'a> {
    pub grant: &'a GrantId,
    pub operations: &'a OperationSet,
}

/// Permissions of policy at use, kept for one second and until anything changes.
#[derive(Default)]
pub(crate) struct Judged {
    /// The world that was asked, and the second in which: answers of another are none.
    of: (u64, i64),
    /// By address of the facts: while they are kept here, no others can have it.
    permitted: Mutex<HashMap<usize, Permitted>>,
}

/// What policy allowed under a grant, with the obligations of all grants that cover it.
#[derive(Clone)]
struct Permitted {
    _facts: Arc<Facts>,
    access: Arc<Access>,
    grant: GrantId,
    sync_first: bool,
    audit: Audit,
}

/// Most answers kept per session and second.
const JUDGED_AT_ONCE: usize = 1024;

impl App {
    pub(crate) fn authorize(&self, door: &Door, ask: &StatementAsk<'_>) -> Verdict {
        let (world, now) = (self.world(), self.now());
        if let Some(refusal) = door.over(now) {
            return Verdict::Refuse(refusal);
        }
        let judged = door.judged(&world, now.micros().div_euclid(1_000_000));
        let key = Arc::as_ptr(ask.facts) as usize;
        if let Some(permitted) = judged.permitted.lock().get(&key)
            && permitted.access.is_live(now)
        {
            return Verdict::Permit(self.mint(door, permitted));
        }
        let grants = door.grants.load();
        let needed = &ask.facts.operations;
        let mut covering: Vec<&Arc<Access>> = grants.iter().filter(|a| a.is_live(now) && covers(a, door, ask.facts)).collect();
        // The latest-ending grant is named; the obligations of all apply.
        covering.sort_by_key(|a| std::cmp::Reverse(a.deadline()));
        let mut denied = None;
        for access in &covering {
            match self.judge_at_use(&world, door, access, ask.facts, now) {
                Outcome::Allow => {
                    let audit = covering.iter().map(|a| a.decision.obligations.audit).max().unwrap_or_default();
                    let changes = needed.iter().any(|op| !matches!(op, Operation::Connect | Operation::Read));
                    let sync_first = changes || audit == Audit::Strict;
                    let permitted =
                        Permitted { _facts: Arc::clone(ask.facts), access: Arc::clone(access), grant: access.grant(), sync_first, audit };
                    let permit = self.mint(door, &permitted);
                    let mut kept = judged.permitted.lock();
                    if kept.len() >= JUDGED_AT_ONCE {
                        kept.clear();
                    }
                    kept.insert(key, permitted);
                    return Verdict::Permit(permit);
                }
                outcome => denied = Some((access.grant(), outcome)),
            }
        }
        self.hold_or_refuse(&world, door, ask, denied, now)
    }

    fn mint(&self, door: &Door, permitted: &Permitted) -> Permit {
        self.node.key.mint(door.id.clone(), permitted.grant.clone(), None, permitted.sync_first, permitted.audit)
    }

    /// Mints the permit of a claimed action: the only other way to one.
    pub(crate) fn mint_claimed(&self, session: &safeconduct_model::SessionId, access: &Access) -> Permit {
        let id = access.envelope.access_request.clone();
        self.node.key.mint(session.clone(), id.grant(), Some(id), true, access.decision.obligations.audit)
    }

    fn judge_at_use(&self, world: &World, door: &Door, access: &Access, facts: &Facts, now: Timestamp) -> Outcome {
        let operations: OperationSet = if access.envelope.scope.operations().contains(Operation::Unrestricted) {
            [Operation::Unrestricted].into_iter().collect()
        } else {
            facts.operations.iter().filter(|op| *op != Operation::Connect).collect()
        };
        if operations.is_empty() {
            // Transaction control and harmless settings are in every grant.
            return Outcome::Allow;
        }
        let (Some(principal), Some(resource)) = (world.directory.find(&door.principal), world.resource(&door.resource.name)) else {
            return Outcome::Deny;
        };
        let asked = AskedContext::of_envelope(&access.envelope);
        let counted = access.counted();
        let question = Question {
            principal,
            resource,
            operations: &operations,
            exact: false,
            asked: &asked,
            source: &door.source,
            facts: Some(facts),
            approvals: Approvals::Given(&counted),
        };
        world.judge(&question, now).outcome
    }

    fn hold_or_refuse(
        &self,
        world: &World,
        door: &Door,
        ask: &StatementAsk<'_>,
        denied: Option<(GrantId, Outcome)>,
        now: Timestamp,
    ) -> Verdict {
        let resource = &door.resource;
        let why = match (&denied, &ask.facts.unparsable) {
            (Some((grant, Outcome::Deny)), _) => format!("policy denies it under grant `{grant}`"),
            (Some((grant, _)), _) => format!("policy asks for more approvals than grant `{grant}` has"),
            (None, Some(why)) => format!("the text could not be understood: {why}"),
            (None, None) => needs(ask.facts),
        };
        let decision = self.judge_exact_at_door(world, door, ask.facts, now);
        if decision.outcome == Outcome::Deny {
            let reasons: Vec<&str> = decision.reasons.iter().map(|r| r.text.as_str()).collect();
            let detail = if reasons.is_empty() { why } else { format!("{why}; {}", reasons.join("; ")) };
            return Verdict::Refuse(refusal("no grant allows this statement, and policy does not let you ask for it", detail, None));
        }
        if !ask.can_hold {
            let hint = request_hint(resource, &ask.facts.operations);
            return Verdict::Refuse(refusal("no grant allows this statement, and it can't be held here", why, Some(hint)));
        }
        Verdict::Hold
    }

    /// Policy's answer to asking for exactly this statement from within the session.
    pub(crate) fn judge_exact_at_door(&self, world: &World, door: &Door, facts: &Facts, now: Timestamp) -> safeconduct_model::Decision {
        let asked = AskedContext::of(&door.asked(now), crate::door::CLAIMED_WITHIN);
        let (Some(principal), Some(resource)) = (world.directory.find(&door.principal), world.resource(&door.resource.name)) else {
            return safeconduct_model::Decision {
                outcome: Outcome::Deny,
                reasons: Vec::new(),
                obligations: safeconduct_model::Obligations::default(),
                policy: world.bundle.hash,
            };
        };
        world.judge(
            &Question {
                principal,
                resource,
                operations: &facts.operations,
                exact: true,
                asked: &asked,
                source: &door.source,
                facts: Some(facts),
                approvals: Approvals::Unknown,
            },
            now,
        )
    }

    /// True while every charge is still covered by a live grant, or was a claimed action.
    pub(crate) fn still_covered<'a>(&self, door: &Door, charges: impl IntoIterator<Item = Charge<'a>>) -> bool {
        let now = self.now();
        let grants = door.grants.load();
        charges.into_iter().all(|charge| {
            grants.iter().any(|a| {
                // Another grant that is narrowed may not reach what this one was used for.
                let reaches = reaches_everything(a) || a.grant() == *charge.grant;
                a.is_live(now) && reaches && a.envelope.scope.operations().covers(charge.operations)
            }) || door.claimed.lock().contains(charge.grant)
        })
    }
}

/// True if the grant's scope passes what the facts need, on the objects they name.
fn covers(access: &Access, door: &Door, facts: &Facts) -> bool {
    let Scope::Window { operations, narrow } = &access.envelope.scope else { return false };
    operations.covers(&facts.operations) && within(narrow, door, facts)
}

/// True if nothing outside the narrowing is named. Seen in the text alone: what the text can't show, the database must hold.
fn within(narrow: &Narrowing, door: &Door, facts: &Facts) -> bool {
    if !narrow.databases.is_empty() && !narrow.databases.contains(&door.database) {
        return false;
    }
    if narrow.schemas.is_empty() && narrow.tables.is_empty() {
        return true;
    }
    let path: Vec<&str> = door.resource.postgres().map(|p| p.search_path.iter().map(String::as_str).collect()).unwrap_or_default();
    facts.unparsable.is_none()
        && facts.statements.iter().flat_map(|s| &s.objects).all(|object| match object.name.rsplit_once('.') {
            Some((schema, table)) => reaches(narrow, object, schema, table),
            // Which schema of the path the server finds it in is not known here: every one of them must be within.
            None => {
                let catalog = object.name.starts_with("pg_").then_some("pg_catalog");
                !path.is_empty() && catalog.iter().chain(&path).all(|schema| reaches(narrow, object, schema, &object.name))
            }
        })
}

fn reaches(narrow: &Narrowing, object: &ObjectUse, schema: &str, table: &str) -> bool {
    // Reading the catalog is how clients find their way; statistics and large objects hold data.
    let catalog = matches!(schema, "pg_catalog" | "information_schema")
        && object.usage == Usage::Read
        && !table.starts_with("pg_stat")
        && !table.starts_with("pg_largeobject");
    catalog
        || ((narrow.schemas.is_empty() || narrow.schemas.contains(schema))
            && (narrow.tables.is_empty() || narrow.tables.contains(&format!("{schema}.{table}")) || narrow.tables.contains(&object.name)))
}

/// True if the scope is bounded by nothing within a database.
fn reaches_everything(access: &Access) -> bool {
    matches!(&access.envelope.scope, Scope::Window { narrow, .. } if narrow.schemas.is_empty() && narrow.tables.is_empty())
}

fn needs(facts: &Facts) -> String {
    let why: Vec<&str> = facts.statements.iter().flat_map(|s| s.why.iter().map(String::as_str)).collect();
    let needs = format!("it needs the operation `{}`", facts.operations);
    if why.is_empty() { needs } else { format!("{needs}: {}", why.join("; ")) }
}

pub(crate) fn refusal(message: &str, detail: String, hint: Option<String>) -> Refusal {
    Refusal { sqlstate: "42501", message: message.to_owned(), detail: Some(detail), hint }
}

/// The command that would ask for these operations.
pub(crate) fn request_hint(resource: &Resource, operations: &OperationSet) -> String {
    let asked: Vec<String> = operations.iter().filter(|op| *op != Operation::Connect).map(|op| format!("--operation {op}")).collect();
    if operations.contains(Operation::Unknown) || asked.is_empty() {
        format!("ask for exactly this statement: safeconduct run {} --reason \"…\" -- '…'", resource.name)
    } else {
        format!("ask for it: safeconduct request {} {} --for 15m --reason \"…\"", resource.name, asked.join(" "))
    }
}

impl Judged {
    /// An empty set of answers for one world and second.
    pub fn of(generation: u64, second: i64) -> Self {
        Self { of: (generation, second), permitted: Mutex::default() }
    }

    pub fn is_of(&self, generation: u64, second: i64) -> bool {
        self.of == (generation, second)
    }
}

/// The access requests a session's holds wait for.
pub(crate) type Holds = std::collections::BTreeSet<AccessRequestId>;
