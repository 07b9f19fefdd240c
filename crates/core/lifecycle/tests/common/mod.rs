//! Builders for lifecycle tests: people, envelopes, decisions and a hand-moved clock. Decides nothing.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use safeconduct_lifecycle::{Access, AccessEvent, Actor, Command, Evidence, Refused, Reviewer, decide, replay};
use safeconduct_model::{
    AccessRequestId, Action, Asked, Bar, Change, Decision, Digest, Envelope, GroupName, Obligations, Operation, Origin, Outcome,
    PrincipalKind, PrincipalName, Quorum, Reason, Scope, SignInId, SqlAction, Timestamp, Ttl, Words,
};

/// 2026-11-22T12:00:00Z, in seconds: where every test starts.
pub const NOON: i64 = 1_795_348_800;

pub fn at(seconds_after_noon: i64) -> Timestamp {
    Timestamp::from_micros(NOON * 1_000_000).plus_seconds(seconds_after_noon)
}

pub fn ttl(seconds: u64) -> Ttl {
    Ttl::from_seconds(seconds).unwrap()
}

pub fn name(name: &str) -> PrincipalName {
    name.parse().unwrap()
}

pub fn words(text: &str) -> Words {
    Words::new(text).unwrap()
}

pub fn evidence() -> Evidence {
    Evidence::SignIn { sign_in: SignInId::from_bits(7), method: "password".into(), source: "127.0.0.1".into(), signed_in_at: at(-60) }
}

pub fn gateway(cause: &str) -> Actor {
    Actor::Gateway { cause: cause.into() }
}

pub fn person(who: &str) -> Actor {
    Actor::Principal { name: name(who) }
}

/// A person of long standing whom policy lets approve.
pub fn reviewer(who: &str, groups: &[&str]) -> Reviewer {
    Reviewer {
        name: name(who),
        kind: PrincipalKind::Person,
        created_at: at(-86_400),
        disabled: false,
        groups: groups.iter().map(|g| g.parse().unwrap()).collect(),
        may_approve: true,
    }
}

pub fn quorum(bars: &[(u32, &[&str])]) -> Quorum {
    let bar =
        |(count, groups): &(u32, &[&str])| Bar { count: *count, groups: groups.iter().map(|g| g.parse::<GroupName>().unwrap()).collect() };
    Quorum { any_of: bars.iter().map(bar).collect() }
}

pub fn answer(outcome: Outcome, policy: &str) -> Decision {
    let effect = if outcome == Outcome::Deny { "forbid" } else { "permit" };
    Decision {
        outcome,
        reasons: vec![Reason { policy_id: "p".into(), effect: effect.into(), text: "because".into() }],
        obligations: Obligations::default(),
        policy: Digest::of_bytes(policy.as_bytes()),
    }
}

pub fn allow() -> Decision {
    answer(Outcome::Allow, "v1")
}

pub fn deny() -> Decision {
    answer(Outcome::Deny, "v1")
}

pub fn need(bars: &[(u32, &[&str])]) -> Decision {
    answer(Outcome::NeedApproval { quorum: quorum(bars) }, "v1")
}

pub fn window() -> Scope {
    Scope::Window { operations: [Operation::Connect, Operation::Write].into_iter().collect(), narrow: Default::default() }
}

pub fn exact() -> Scope {
    let sql = SqlAction {
        database: "orders".into(),
        text: "delete from orders".into(),
        parameters: vec![],
        settings: Default::default(),
        copy_data: None,
    };
    Scope::Exact { action: Action::Sql(sql), needs: [Operation::Write].into_iter().collect() }
}

pub fn administration() -> Scope {
    let change = Change::AddMember { group: "dba".parse().unwrap(), name: name("mallory") };
    Scope::Exact { action: Action::Administration(change), needs: [Operation::ManageGroups].into_iter().collect() }
}

/// alice asks at noon for half an hour; undecided after an hour it lapses.
pub fn envelope(number: u64, scope: Scope, decision: &Decision) -> Envelope {
    Envelope {
        v: 1,
        gateway: "test".into(),
        access_request: AccessRequestId::from_bits(number),
        nonce: format!("{number:032x}"),
        requester: name("alice"),
        requester_kind: PrincipalKind::Person,
        resource: "orders-db".parse().unwrap(),
        scope,
        duration: ttl(1_800),
        starts_at: None,
        asked_at: at(0),
        pending_until: at(3_600),
        asked: Asked {
            reason: words("fix order 4711"),
            ticket: None,
            source: "127.0.0.1".into(),
            sign_in: "password".into(),
            sign_in_age_seconds: 60,
            claims: std::collections::BTreeMap::new(),
        },
        origin: Origin::Asked,
        policy: decision.policy,
        quorum: match &decision.outcome {
            Outcome::NeedApproval { quorum } => Some(quorum.clone()),
            Outcome::Allow | Outcome::Deny => None,
        },
        roster_epoch: 5,
    }
}

/// One access request with its record, driven by commands.
pub struct Story {
    pub access: Option<Access>,
    pub events: Vec<AccessEvent>,
}

impl Story {
    /// Asked for and answered by policy.
    pub fn asked(envelope: Envelope, decision: Decision, now: Timestamp) -> Self {
        let mut story = Self { access: None, events: vec![] };
        story.run(Command::Submit { envelope: Box::new(envelope), decision }, now).unwrap();
        story
    }

    /// Waits for one of `dba`.
    pub fn pending(scope: Scope) -> Self {
        let decision = need(&[(1, &["dba"])]);
        Self::asked(envelope(1, scope, &decision), decision, at(0))
    }

    /// Approved by policy at noon.
    pub fn granted(scope: Scope) -> Self {
        Self::asked(envelope(1, scope, &allow()), allow(), at(0))
    }

    pub fn run(&mut self, command: Command, now: Timestamp) -> Result<Vec<AccessEvent>, Refused> {
        let events = decide(self.access.as_ref(), command, now)?;
        self.access = replay(self.access.take(), &events);
        self.events.extend(events.iter().cloned());
        Ok(events)
    }

    pub fn approve(
        &mut self,
        by: Reviewer,
        others: Vec<Reviewer>,
        judgement: Decision,
        now: Timestamp,
    ) -> Result<Vec<AccessEvent>, Refused> {
        let digest = self.now().digest;
        self.run(Command::Approve { by, digest, comment: None, evidence: evidence(), others, judgement }, now)
    }

    pub fn now(&self) -> &Access {
        self.access.as_ref().unwrap()
    }

    pub fn state(&self) -> &'static str {
        self.now().state.name()
    }

    pub fn count(&self, kind: &str) -> usize {
        self.events.iter().filter(|event| event.kind() == kind).count()
    }
}
