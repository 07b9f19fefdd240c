//! Evaluations: the questions put to policy, with everything a policy may know. Nothing here decides.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
};

use safeconduct_model::{Asked, Counted, Envelope, GroupName, OperationSet, Principal, PrincipalName, Resource, Timestamp, Ttl};

/// May this principal do these operations on this resource, asked like this, now?
#[derive(Clone, Copy, Debug)]
pub struct Evaluation<'a> {
    pub principal: &'a Principal,
    pub resource: &'a Resource,
    pub operations: &'a OperationSet,
    /// True for one action, run once; false for a window.
    pub exact: bool,
    pub asked: &'a AskedContext,
    pub now: &'a NowContext,
    pub approvals: Approvals<'a>,
}

/// What was said and true when asking: `context.asked`. Frozen in the envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AskedContext {
    pub reason: String,
    pub ticket: Option<String>,
    pub duration: Ttl,
    pub source: Option<IpAddr>,
    /// `password`, `token` or `door`.
    pub sign_in: String,
    pub sign_in_age_seconds: u64,
    /// `name=value`, of the token that a workload brought or a person signed in with.
    pub claims: BTreeSet<String>,
}

/// What is true at the moment of the decision: `context.now`. Hour and weekday are worked out in the resource's zone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NowContext {
    pub time: Timestamp,
    pub source: Option<IpAddr>,
    /// Facts of the exact action or of the statement in hand; `None` for a window.
    pub facts: Option<FactsContext>,
    /// Enabled people in group `administrators`, the principal not counted. Read only for administration.
    pub other_administrators: u32,
}

/// Facts derived from an action's text: `context.now.facts`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FactsContext {
    pub statements: u32,
    pub commands: BTreeSet<String>,
    /// False if any UPDATE or DELETE lacks WHERE; `None` if there is none.
    pub has_where: Option<bool>,
    pub objects: BTreeSet<String>,
    pub functions: BTreeSet<String>,
}

/// The approvals so far.
#[derive(Clone, Copy, Debug)]
pub enum Approvals<'a> {
    /// Not known: the answer says which approvals it would take.
    Unknown,
    /// Exactly these. Who may be counted, and for which groups, is settled by the caller.
    Given(&'a [Counted]),
}

/// May this person settle that access request?
#[derive(Clone, Copy, Debug)]
pub struct ApprovalQuestion<'a> {
    pub approver: &'a Principal,
    pub requester: &'a Principal,
    /// Whom the requester answered to when asking, and still does. Who became it since does not count.
    pub requester_manager: Option<&'a PrincipalName>,
    pub resource: &'a Resource,
    pub operations: &'a OperationSet,
    pub exact: bool,
    /// Facts of the exact action; `None` for a window.
    pub facts: Option<&'a FactsContext>,
    /// Time, and where the approver is.
    pub now: &'a NowContext,
}

/// Most texts in one set of facts.
const MAX_ITEMS: usize = 2_000;
/// Most bytes of all texts of one evaluation.
const MAX_BYTES: usize = 256 * 1024;

impl AskedContext {
    /// What an envelope froze, for a grant of `duration`.
    #[must_use]
    pub fn of(asked: &Asked, duration: Ttl) -> Self {
        Self {
            reason: asked.reason.as_str().to_owned(),
            ticket: asked.ticket.as_ref().map(|ticket| ticket.as_str().to_owned()),
            duration,
            source: address(&asked.source),
            sign_in: asked.sign_in.clone(),
            sign_in_age_seconds: asked.sign_in_age_seconds,
            claims: asked.claims.iter().map(|(name, value)| format!("{name}={}", value.as_str())).collect(),
        }
    }

    /// What this envelope froze.
    #[must_use]
    pub fn of_envelope(envelope: &Envelope) -> Self {
        Self::of(&envelope.asked, envelope.duration)
    }

    fn size_bytes(&self) -> usize {
        self.reason.len()
            + self.ticket.as_ref().map_or(0, String::len)
            + self.sign_in.len()
            + self.claims.iter().map(String::len).sum::<usize>()
    }
}

/// Reads `10.0.0.7`, `10.0.0.7:5432` or `[::1]:5432`; anything else is no address, and policy sees none.
#[must_use]
pub fn address(text: &str) -> Option<IpAddr> {
    text.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip())).map(|ip: IpAddr| ip.to_canonical())
}

impl FactsContext {
    fn items(&self) -> impl Iterator<Item = &String> {
        self.commands.iter().chain(&self.objects).chain(&self.functions)
    }
}

/// True if the question is small enough to be put to policy.
pub(crate) fn fits(principal: &Principal, asked: Option<&AskedContext>, facts: Option<&FactsContext>) -> bool {
    let items = facts.map_or(0, |facts| facts.items().count()) + principal.groups.len();
    let bytes = facts.map_or(0, |facts| facts.items().map(String::len).sum::<usize>())
        + asked.map_or(0, AskedContext::size_bytes)
        + principal.groups.keys().map(|group| group.as_str().len()).sum::<usize>()
        + principal.department.as_ref().map_or(0, String::len)
        + principal.attributes.values().map(String::len).sum::<usize>();
    items <= MAX_ITEMS && bytes <= MAX_BYTES
}

/// Approvals as `context` shows them: how many distinct people, and the groups they count for.
pub(crate) fn counts(approvals: &[Counted]) -> (u32, BTreeSet<GroupName>) {
    let people: BTreeSet<_> = approvals.iter().map(|approval| &approval.approver).collect();
    let groups = approvals.iter().flat_map(|approval| approval.groups.iter().cloned()).collect();
    (u32::try_from(people.len()).unwrap_or(u32::MAX), groups)
}
