//! Finding ledger entries, newest first, for who may read the whole ledger. Looking changes nothing.
//!
//! The work of one call is bounded whatever the ledger's size: it looks at so many entries and says where to go on. A time is found by
//! halving, as entries are in the order of their times.

use std::collections::BTreeMap;

use safeconduct_lifecycle::{Event, StreamId};
use safeconduct_model::{PrincipalName, ResourceName, Timestamp};

use crate::{identity::Caller, node::App, ports::Stored, problem::Problem, summary::Summary};

/// Entries one call looks at.
const MAX_LOOK: u64 = 5_000;
/// Access requests and sessions one call loads to learn whom an entry is about.
const MAX_LOADED: usize = 1_000;
/// Most entries one call returns.
const MAX_FOUND: u32 = 200;
/// Longest text to look for, in bytes.
const MAX_TEXT: usize = 500;
const CHUNK: u64 = 500;

/// Which entries. What is absent narrows nothing.
#[derive(Clone, Debug, Default)]
pub struct LedgerQuery {
    /// Who acted, or whom it is about.
    pub person: Option<PrincipalName>,
    pub resource: Option<ResourceName>,
    /// A kind, or the words it begins with: `grant` finds `grant_given` and `grant_revoked`.
    pub kind: Option<String>,
    /// Sequenced at this moment or later.
    pub from: Option<Timestamp>,
    /// Sequenced before this moment.
    pub to: Option<Timestamp>,
    /// Somewhere in the body, whatever the case of the letters.
    pub text: Option<String>,
    /// Only entries with a smaller index.
    pub before: Option<u64>,
    pub limit: u32,
}

/// An entry that was found.
#[derive(Clone, Debug)]
pub struct FoundEntry {
    pub stored: Stored,
    /// Who did it; `None` if the gateway did by itself, or the body was erased.
    pub who: Option<PrincipalName>,
    /// The requester of the access request, the principal of the session, the one who was changed.
    pub about: Option<PrincipalName>,
    pub resource: Option<ResourceName>,
    /// One line in the gateway's words.
    pub summary: String,
}

/// A part of what a search finds.
#[derive(Clone, Debug)]
pub struct Found {
    /// Newest first.
    pub entries: Vec<FoundEntry>,
    /// `before` of the call that goes on; `None` if nothing older is left to look at.
    pub next: Option<u64>,
    /// Entries that were looked at.
    pub looked_at: u64,
    /// How far back this call looked.
    pub back_to: Option<Timestamp>,
    /// Entries in the ledger.
    pub size: u64,
}

/// Whom a stream is about, and what.
type Subject = Option<(PrincipalName, ResourceName)>;

impl App {
    /// Entries that fit, newest first, out of at most 5,000: a call may find none and still say where to go on.
    ///
    /// # Errors
    /// `VIEW-001` for who may not audit; `REQ-001` for a time that is empty or a text that is too long.
    pub async fn ledger_search(&self, caller: &Caller, query: &LedgerQuery) -> Result<Found, Problem> {
        self.may_audit(caller)?;
        if query.from.zip(query.to).is_some_and(|(from, to)| from >= to) {
            return Err(Problem::invalid("`from` is before `to`"));
        }
        if query.text.as_ref().is_some_and(|text| text.len() > MAX_TEXT) {
            return Err(Problem::invalid(format!("`text` has at most {MAX_TEXT} bytes")));
        }
        let size = self.node.ports.store.tree_head().await?.size;
        let limit = usize::try_from(query.limit.clamp(1, MAX_FOUND)).unwrap_or(usize::MAX);
        let needles = query.text.as_deref().map(needles);
        let mut end = query.before.map_or(size, |before| before.min(size));
        if let Some(to) = query.to {
            end = self.first_at(to, end).await?;
        }
        let mut found = Found { entries: Vec::new(), next: None, looked_at: 0, back_to: None, size };
        let mut subjects: BTreeMap<StreamId, Subject> = BTreeMap::new();
        while end > 0 {
            if found.looked_at >= MAX_LOOK {
                found.next = Some(end);
                return Ok(found);
            }
            let start = end.saturating_sub(CHUNK);
            let chunk = self.node.ports.store.events_from(start, u32::try_from(end.saturating_sub(start)).unwrap_or(u32::MAX)).await?;
            for stored in chunk.into_iter().filter(|stored| stored.index < end).rev() {
                if query.from.is_some_and(|from| stored.at < from) {
                    return Ok(found);
                }
                let index = stored.index;
                found.looked_at = found.looked_at.saturating_add(1);
                found.back_to = Some(stored.at);
                if query.may_fit(&stored, needles.as_ref()) {
                    let entry = self.describe(stored, &mut subjects).await?;
                    if query.fits(&entry) {
                        found.entries.push(entry);
                    }
                }
                if found.entries.len() >= limit || subjects.len() >= MAX_LOADED {
                    found.next = Some(index).filter(|index| *index > 0);
                    return Ok(found);
                }
            }
            end = start;
        }
        Ok(found)
    }

    /// The first index below `end` that was sequenced at `at` or later; `end` if none was.
    async fn first_at(&self, at: Timestamp, end: u64) -> Result<u64, Problem> {
        let (mut low, mut high) = (0, end);
        while low < high {
            let middle = low.saturating_add(high.saturating_sub(low) / 2);
            match self.node.ports.store.events_from(middle, 1).await?.first() {
                Some(stored) if stored.index == middle && stored.at < at => low = middle.saturating_add(1),
                _ => high = middle,
            }
        }
        Ok(low)
    }

    async fn describe(&self, stored: Stored, subjects: &mut BTreeMap<StreamId, Subject>) -> Result<FoundEntry, Problem> {
        if !subjects.contains_key(&stored.stream) {
            let subject = match &stored.stream {
                StreamId::Access(id) => self.load_access(id).await?.map(|access| (access.envelope.requester, access.envelope.resource)),
                StreamId::Session(id) => self.load_session(id).await?.map(|session| (session.principal, session.resource)),
                StreamId::Directory | StreamId::SignIns | StreamId::Policy | StreamId::Node => None,
            };
            subjects.insert(stored.stream.clone(), subject);
        }
        let (about, resource) = subjects.get(&stored.stream).cloned().flatten().unzip();
        let told = stored.event.as_ref().map(Summary::of).unwrap_or_default();
        let summary = if stored.event.is_some() { told.line } else { "erased; that it happened stays provable".to_owned() };
        Ok(FoundEntry { who: told.who, about: told.about.or(about), resource: told.resource.or(resource), summary, stored })
    }
}

impl LedgerQuery {
    /// What the entry alone can tell.
    fn may_fit(&self, stored: &Stored, needles: Option<&[String; 2]>) -> bool {
        let kind = stored.event.as_ref().map_or("erased", Event::kind);
        let of_kind = |wanted: &String| kind.strip_prefix(wanted.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('_'));
        let says = |needles: &[String; 2]| {
            let body = stored.event.as_ref().and_then(|event| event.to_body().ok()).map(|body| body.to_lowercase());
            body.is_some_and(|body| needles.iter().any(|needle| body.contains(needle.as_str())))
        };
        self.kind.as_ref().is_none_or(of_kind) && needles.is_none_or(says)
    }

    fn fits(&self, entry: &FoundEntry) -> bool {
        let person = |wanted: &PrincipalName| entry.who.as_ref() == Some(wanted) || entry.about.as_ref() == Some(wanted);
        self.person.as_ref().is_none_or(person) && self.resource.as_ref().is_none_or(|wanted| entry.resource.as_ref() == Some(wanted))
    }
}

/// A text as it is, and as it is written within a body: quotes and line breaks have escapes there.
fn needles(text: &str) -> [String; 2] {
    let written = serde_json::to_string(text).unwrap_or_default();
    let written = written.strip_prefix('"').and_then(|written| written.strip_suffix('"')).unwrap_or(text);
    [text.to_lowercase(), written.to_lowercase()]
}
