//! What doorbells tell: an access request that waits for people, as it stands, with who may approve it. No text of the action itself:
//! a doorbell may lead out of the house.

use safeconduct_lifecycle::{AccessState, StreamId};
use safeconduct_model::{AccessRequestId, GroupName, Operation, OperationSet, PrincipalKind, PrincipalName, ResourceName, Timestamp};

use crate::{node::App, problem::Problem};

/// An access request that waits for people.
#[derive(Clone, Debug)]
pub struct Bell {
    pub access_request: AccessRequestId,
    pub gateway: String,
    pub resource: ResourceName,
    pub requester: PrincipalName,
    pub requester_kind: PrincipalKind,
    /// The requester's own words, as they were given.
    pub reason: String,
    pub ticket: Option<String>,
    /// One action, once; else everything of these kinds for a while.
    pub exact: bool,
    pub operations: Vec<String>,
    /// How long the right would last, for people.
    pub duration: String,
    /// What the gateway derived from the action.
    pub facts: Option<String>,
    /// Whose approval it takes, for people.
    pub quorum: String,
    /// Who may approve it, and the groups each counts for.
    pub eligible: Vec<(PrincipalName, Vec<GroupName>)>,
    pub until: Timestamp,
    pub digest: String,
    /// Where it is looked at and decided. Opening it decides nothing.
    pub link: String,
}

impl App {
    /// Where this doorbell goes on. The first time it begins with what is asked from this moment on.
    ///
    /// # Errors
    /// `STORE-001`.
    pub async fn rung(&self, doorbell: &str) -> Result<u64, Problem> {
        match self.node.ports.store.cursor(&cursor(doorbell)).await? {
            0 => {
                let now = self.ledger_size().await?;
                self.set_rung(doorbell, now).await?;
                Ok(now)
            }
            index => Ok(index),
        }
    }

    /// Remembers that everything before this index was rung for.
    ///
    /// # Errors
    /// `STORE-001`.
    pub async fn set_rung(&self, doorbell: &str, index: u64) -> Result<(), Problem> {
        Ok(self.node.ports.store.set_cursor(&cursor(doorbell), index).await?)
    }

    /// Access requests that were submitted from an index on, out of at most `limit` events, each with the index after it; and the index to
    /// go on from.
    ///
    /// # Errors
    /// `STORE-001`.
    pub async fn submitted(&self, from: u64, limit: u32) -> Result<(Vec<(AccessRequestId, u64)>, u64), Problem> {
        let stored = self.node.ports.store.events_from(from, limit).await?;
        let next = stored.last().map_or(from, |stored| stored.index.saturating_add(1));
        let submitted = stored.into_iter().filter_map(|stored| match (&stored.stream, &stored.event) {
            (StreamId::Access(id), Some(event)) if event.kind() == "access_request_submitted" => {
                Some((id.clone(), stored.index.saturating_add(1)))
            }
            _ => None,
        });
        Ok((submitted.collect(), next))
    }

    /// What to tell about an access request. `None` if it does not wait for people any more.
    ///
    /// # Errors
    /// `STORE-001`.
    pub async fn bell(&self, id: &AccessRequestId) -> Result<Option<Bell>, Problem> {
        let (world, now) = (self.world(), self.now());
        let Some(access) = self.load_access(id).await?.filter(|access| matches!(access.state, AccessState::Pending)) else {
            return Ok(None);
        };
        let envelope = &access.envelope;
        let facts = self.facts_of(&world, envelope);
        let eligible = world.eligible(envelope, facts.as_deref(), now);
        Ok(Some(Bell {
            access_request: id.clone(),
            gateway: envelope.gateway.clone(),
            resource: envelope.resource.clone(),
            requester: envelope.requester.clone(),
            requester_kind: envelope.requester_kind,
            reason: envelope.asked.reason.to_string(),
            ticket: envelope.asked.ticket.as_ref().map(ToString::to_string),
            exact: envelope.scope.is_exact(),
            operations: operations(envelope.scope.operations()),
            duration: envelope.duration.to_string(),
            facts: facts.as_deref().map(safeconduct_sql::summary_line),
            quorum: access.quorum().map(ToString::to_string).unwrap_or_default(),
            eligible: eligible.into_iter().map(|reviewer| (reviewer.name, reviewer.groups)).collect(),
            until: envelope.pending_until,
            digest: access.digest.to_string(),
            link: format!("{}/access-requests/{id}", self.node.settings.public_url),
        }))
    }
}

/// `connect` comes with everything else, and says nothing beside it.
fn operations(operations: &OperationSet) -> Vec<String> {
    let alone = operations.iter().count() == 1;
    operations.iter().filter(|operation| alone || *operation != Operation::Connect).map(|operation| operation.to_string()).collect()
}

fn cursor(doorbell: &str) -> String {
    format!("doorbell {doorbell}")
}
