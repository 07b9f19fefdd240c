//! News that was missed: what happened while a follower was away, read back from the ledger for those who may know.

use std::sync::Arc;

use safeconduct_lifecycle::StreamId;

use crate::{identity::Caller, node::App, ports::Stored, problem::Problem, publish::News};

/// Most events one call looks at.
const MAX_LOOK: u32 = 500;

/// A part of what was missed.
#[derive(Debug)]
pub struct Missed {
    /// What the caller may hear of, in order.
    pub news: Vec<News>,
    /// Index to go on from. The same as was asked for if nothing has happened since.
    pub next: u64,
}

impl App {
    /// News from an index on, out of at most `limit` events. Access requests are told as they stand at this moment.
    ///
    /// Subscribe first and then read until nothing is left: what is in both has the same index, and nothing falls between.
    ///
    /// # Errors
    /// `STORE-001`.
    pub async fn news_from(&self, caller: &Caller, index: u64, limit: u32) -> Result<Missed, Problem> {
        let stored = self.node.ports.store.events_from(index, limit.clamp(1, MAX_LOOK)).await?;
        let mut missed = Missed { news: Vec::new(), next: index };
        for stored in stored {
            missed.next = stored.index.saturating_add(1);
            if let Some(news) = self.news_of(stored).await?
                && self.may_see(caller, &news)
            {
                missed.news.push(news);
            }
        }
        Ok(missed)
    }

    /// The news an event was; none if its body was erased.
    async fn news_of(&self, stored: Stored) -> Result<Option<News>, Problem> {
        let Some(event) = &stored.event else { return Ok(None) };
        let kind = event.kind();
        let (access, principal) = match &stored.stream {
            StreamId::Access(id) => (self.load_access(id).await?.map(Arc::new), None),
            StreamId::Session(id) => (None, self.load_session(id).await?.map(|session| session.principal)),
            _ => (None, None),
        };
        Ok(Some(News { index: stored.index, kind, at: stored.at, access, principal, stream: stored.stream }))
    }
}
