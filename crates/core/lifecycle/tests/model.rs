//! Scripts of commands by several people against a plain reference model, with a clock that also leaps and runs backwards.
//!
//! After each step the lifecycle and the model must agree, and what must always hold is checked on the record itself.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeSet;

use common::{answer, envelope, exact, name, quorum, window};
use proptest::prelude::*;
use safeconduct_lifecycle::{
    Access, AccessEvent, AccessState, Actor, Command, Event, ExactOutcome, Reviewer, StreamId, Withdrawal, decide, replay, tally,
};
use safeconduct_model::{Decision, Digest, Envelope, Origin, Outcome, PrincipalKind, Quorum, Timestamp};

/// Who takes part. The first one asks.
const PEOPLE: [(&str, &[&str]); 7] = [
    ("alice", &["dba"]),
    ("bob", &["dba"]),
    ("dora", &["dba"]),
    ("carol", &["audit"]),
    ("deployer", &["dba"]),
    ("nia", &["dba"]),
    ("ann", &[]),
];
const WORKLOAD: usize = 4;
const NEWCOMER: usize = 5;

/// What policy answers: denies, or needs so many people, perhaps one of them a dba.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Policy {
    Deny,
    Needs { count: u32, dba: bool },
}

#[derive(Clone, Debug)]
enum Step {
    Advance(i64),
    Approve { who: usize, shown: Shown },
    Deny { who: usize },
    Withdraw { who: Option<usize> },
    Tick,
    Activate,
    Extend { seconds: i64 },
    Apply,
    Release { who: usize },
    Revoke,
    Claim,
    Settle,
    End,
    Change(Policy),
    Rejudge,
    Standing { who: usize, disabled: bool, may_approve: bool },
}

/// Which digest an approver names.
#[derive(Clone, Copy, Debug)]
enum Shown {
    Current,
    First,
    Other,
}

#[derive(Clone, Debug)]
struct Script {
    policy: Policy,
    asked: Vec<(bool, bool, Option<i64>)>,
    steps: Vec<(usize, Step)>,
}

/// Where the plain model says an access request stands.
#[derive(Clone, Debug, PartialEq)]
enum Phase {
    Pending,
    Scheduled(i64),
    Ready(i64),
    Active(i64, i64),
    Claimed,
    Over(&'static str),
}

/// The lifecycle in plain words: seconds, indexes and no events.
#[derive(Clone, Debug)]
struct Plain {
    phase: Phase,
    exact: bool,
    extension: bool,
    start: Option<i64>,
    needs: Policy,
    approved: BTreeSet<usize>,
    ended: bool,
}

const DURATION: i64 = 1_800;
const PENDING_UNTIL: i64 = 3_600;

#[derive(Clone, Copy, Debug)]
struct Standing {
    disabled: bool,
    may_approve: bool,
}

fn met(policy: Policy, people: &BTreeSet<usize>) -> bool {
    match policy {
        Policy::Deny => false,
        Policy::Needs { count, dba } => people.len() >= count as usize && (!dba || people.iter().any(|p| PEOPLE[*p].1.contains(&"dba"))),
    }
}

impl Plain {
    fn asked(exact: bool, extension: bool, start: Option<i64>, policy: Policy) -> Self {
        let mut plain = Self { phase: Phase::Pending, exact, extension, start, needs: policy, approved: BTreeSet::new(), ended: false };
        match policy {
            Policy::Deny => plain.phase = Phase::Over("refused"),
            Policy::Needs { count: 0, .. } => plain.grant(0),
            Policy::Needs { .. } => {}
        }
        plain
    }

    fn grant(&mut self, now: i64) {
        self.phase = match self.start.filter(|start| *start > now) {
            Some(start) if self.exact => Phase::Ready(start + DURATION),
            Some(start) => Phase::Scheduled(start),
            None if self.exact => Phase::Ready(now + DURATION),
            None => Phase::Active(now, now + DURATION),
        };
    }

    fn time_is_over(&self, now: i64) -> bool {
        match self.phase {
            Phase::Pending => now >= PENDING_UNTIL,
            Phase::Scheduled(start) => now >= start + DURATION,
            Phase::Ready(until) | Phase::Active(_, until) => now >= until,
            Phase::Claimed | Phase::Over(_) => false,
        }
    }

    fn lapse(&mut self) {
        self.phase = Phase::Over(if self.phase == Phase::Pending { "lapsed" } else { "expired" });
    }

    fn given(&self) -> bool {
        matches!(self.phase, Phase::Scheduled(_) | Phase::Ready(_) | Phase::Active(..))
    }

    /// Runs a step. False: it must be refused.
    fn run(&mut self, step: &Step, now: i64, policy: Policy, people: &[Standing], current: bool) -> bool {
        let stands = |who: usize| who != 0 && who != WORKLOAD && who != NEWCOMER && !people[who].disabled && people[who].may_approve;
        match *step {
            Step::Approve { who, .. } => {
                let open = self.phase == Phase::Pending && !self.time_is_over(now);
                if !stands(who) || !open || !current || self.approved.contains(&who) {
                    return false;
                }
                self.approved.retain(|p| stands(*p));
                self.approved.insert(who);
                if policy == Policy::Deny {
                    self.phase = Phase::Over("refused");
                } else if met(self.needs, &self.approved) && met(policy, &self.approved) {
                    self.grant(now);
                }
            }
            Step::Deny { who } => {
                if !stands(who) || self.time_is_over(now) {
                    return false;
                }
                match self.phase {
                    Phase::Pending => self.phase = Phase::Over("denied"),
                    _ if self.given() => self.phase = Phase::Over("revoked"),
                    _ => return false,
                }
            }
            Step::Withdraw { who } => {
                if self.phase != Phase::Pending || self.time_is_over(now) || who.is_some_and(|who| who != 0) {
                    return false;
                }
                self.phase = Phase::Over("withdrawn");
            }
            Step::Tick if self.time_is_over(now) => self.lapse(),
            Step::Activate => match self.phase {
                Phase::Scheduled(start) if now < start => return false,
                Phase::Scheduled(_) if self.time_is_over(now) => self.lapse(),
                Phase::Scheduled(start) if met(policy, &self.approved) => self.phase = Phase::Active(now, start + DURATION),
                Phase::Scheduled(_) => self.phase = Phase::Over("revoked"),
                _ => return false,
            },
            Step::Extend { seconds } => match self.phase {
                Phase::Active(since, until) if now < until && now + seconds > until => self.phase = Phase::Active(since, now + seconds),
                _ => return false,
            },
            Step::Apply => {
                if !self.extension || !self.given() || self.time_is_over(now) {
                    return false;
                }
                self.phase = Phase::Over("applied");
            }
            Step::Release { who } => {
                if who != 0 || !self.given() || self.time_is_over(now) {
                    return false;
                }
                self.phase = Phase::Over("released");
            }
            Step::Revoke => {
                if !(self.given() || self.phase == Phase::Pending) || self.time_is_over(now) {
                    return false;
                }
                self.ended = self.phase == Phase::Pending;
                self.phase = Phase::Over("revoked");
            }
            Step::Claim => {
                let due = self.start.is_none_or(|start| now >= start);
                match self.phase {
                    Phase::Ready(until) if now < until && due && met(policy, &self.approved) => self.phase = Phase::Claimed,
                    _ => return false,
                }
            }
            Step::Settle => {
                if self.phase != Phase::Claimed {
                    return false;
                }
                self.phase = Phase::Over("settled");
            }
            Step::End => {
                let over = ["applied", "expired", "released", "revoked", "settled"];
                self.ended |= matches!(self.phase, Phase::Over(how) if over.contains(&how));
            }
            Step::Rejudge if self.time_is_over(now) => self.lapse(),
            Step::Rejudge => self.rejudge(policy, now),
            Step::Tick | Step::Advance(_) | Step::Change(_) | Step::Standing { .. } => {}
        }
        true
    }

    fn rejudge(&mut self, policy: Policy, now: i64) {
        match (&self.phase, policy) {
            (Phase::Pending, Policy::Deny) => self.phase = Phase::Over("refused"),
            (Phase::Pending, new) if new != self.needs => {
                self.needs = new;
                self.approved.clear();
                if matches!(new, Policy::Needs { count: 0, .. }) {
                    self.grant(now);
                }
            }
            (_, new) if self.given() && !met(new, &self.approved) => self.phase = Phase::Over("revoked"),
            _ => {}
        }
    }
}

/// The lifecycle under test, with the record it made.
struct World {
    now: i64,
    policy: Policy,
    people: Vec<Standing>,
    asked: Vec<(Option<Access>, Vec<AccessEvent>, Plain, Digest)>,
}

fn at(now: i64) -> Timestamp {
    common::at(now)
}

fn asks(policy: Policy) -> Option<Quorum> {
    match policy {
        Policy::Deny | Policy::Needs { count: 0, .. } => None,
        Policy::Needs { count, dba: true } => Some(quorum(&[(count, &["dba"])])),
        Policy::Needs { count, dba: false } => Some(quorum(&[(count, &[])])),
    }
}

/// Policy's answer with these people's approvals.
fn judge(policy: Policy, people: &BTreeSet<usize>) -> Decision {
    let outcome = match asks(policy) {
        None if policy == Policy::Deny => Outcome::Deny,
        Some(quorum) if !met(policy, people) => Outcome::NeedApproval { quorum },
        _ => Outcome::Allow,
    };
    answer(outcome, &format!("{policy:?}"))
}

impl World {
    fn new(script: &Script) -> Self {
        let people = vec![Standing { disabled: false, may_approve: true }; PEOPLE.len()];
        let mut world = Self { now: 0, policy: script.policy, people, asked: vec![] };
        for (number, (exact_one, extension, start)) in (1..).zip(&script.asked) {
            let decision = judge(script.policy, &BTreeSet::new());
            let mut envelope = envelope(number, if *exact_one { exact() } else { window() }, &decision);
            envelope.starts_at = start.map(at);
            if *extension {
                envelope.origin = Origin::Extension { of: safeconduct_model::AccessRequestId::from_bits(900).grant() };
            }
            let digest = envelope.digest().unwrap();
            let events = decide(None, Command::Submit { envelope: Box::new(envelope), decision }, at(0)).unwrap();
            let plain = Plain::asked(*exact_one, *extension, *start, script.policy);
            world.asked.push((replay(None, &events), events, plain, digest));
        }
        world
    }

    fn reviewer(&self, who: usize) -> Reviewer {
        let (called, groups) = PEOPLE[who];
        Reviewer {
            name: name(called),
            kind: if who == WORKLOAD { PrincipalKind::Workload } else { PrincipalKind::Person },
            created_at: if who == NEWCOMER { at(1) } else { at(-86_400) },
            disabled: self.people[who].disabled,
            groups: groups.iter().map(|g| g.parse().unwrap()).collect(),
            may_approve: self.people[who].may_approve,
        }
    }

    fn command(&self, access: &Access, first: Digest, step: &Step) -> Option<Command> {
        let others: Vec<Reviewer> = (0..PEOPLE.len()).map(|who| self.reviewer(who)).collect();
        let index = |name: &str| PEOPLE.iter().position(|(called, _)| *called == name).unwrap();
        let counted = |by: Option<&Reviewer>, others: &[Reviewer]| -> BTreeSet<usize> {
            tally(access, by, others).iter().map(|c| index(c.approver.as_str())).collect()
        };
        let standing: BTreeSet<usize> = access.approvals.iter().map(|a| index(a.approver.as_str())).collect();
        Some(match *step {
            Step::Advance(_) | Step::Change(_) | Step::Standing { .. } => return None,
            Step::Approve { who, shown } => {
                let by = self.reviewer(who);
                let digest = match shown {
                    Shown::Current => access.digest,
                    Shown::First => first,
                    Shown::Other => Digest::of_bytes(b"another envelope"),
                };
                let judgement = judge(self.policy, &counted(Some(&by), &others));
                Command::Approve { by, digest, comment: None, evidence: common::evidence(), others, judgement }
            }
            Step::Deny { who } => Command::Deny { by: self.reviewer(who), comment: common::words("no"), evidence: common::evidence() },
            Step::Withdraw { who } => Command::Withdraw {
                by: who.map_or(Actor::Gateway { cause: "session".into() }, |who| common::person(PEOPLE[who].0)),
                why: Withdrawal::Cancelled,
            },
            Step::Tick => Command::Tick,
            Step::Activate => Command::Activate { judgement: judge(self.policy, &standing) },
            Step::Extend { seconds } => {
                Command::Extend { until: at(self.now + seconds), by: safeconduct_model::AccessRequestId::from_bits(77) }
            }
            Step::Apply => Command::Apply,
            Step::Release { who } => Command::Release { by: name(PEOPLE[who].0) },
            Step::Revoke => Command::Revoke { by: common::person("bob"), reason: "stop".into() },
            Step::Claim => Command::Claim { judgement: judge(self.policy, &standing) },
            Step::Settle => Command::Settle { outcome: ExactOutcome::Unknown { why: "lost".into() } },
            Step::End => Command::End,
            Step::Rejudge => {
                let without_approvals = judge(self.policy, &BTreeSet::new());
                let reissued = Envelope {
                    policy: without_approvals.policy,
                    quorum: asks(self.policy),
                    nonce: format!("{:032x}", access.version),
                    ..access.envelope.clone()
                };
                Command::Rejudge { judgement: judge(self.policy, &standing), without_approvals, reissued: Box::new(reissued) }
            }
        })
    }

    fn run(&mut self, which: usize, step: &Step) -> Result<(), TestCaseError> {
        match *step {
            Step::Advance(seconds) => self.now += seconds,
            Step::Change(policy) => self.policy = policy,
            Step::Standing { who, disabled, may_approve } => self.people[who] = Standing { disabled, may_approve },
            _ => {}
        }
        let which = which % self.asked.len();
        let (access, _, _, first) = &self.asked[which];
        let before = access.clone().unwrap();
        let Some(command) = self.command(&before, *first, step) else { return Ok(()) };
        let current = matches!(&command, Command::Approve { digest, .. } if *digest == before.digest);
        let answer = decide(Some(&before), command, at(self.now));
        let (access, record, plain, _) = &mut self.asked[which];
        let expected = plain.run(step, self.now, self.policy, &self.people, current);
        prop_assert_eq!(answer.is_ok(), expected, "{:?} at {} gave {:?}; model {:?}", step, self.now, answer, plain);
        let events = answer.unwrap_or_default();
        *access = replay(access.take(), &events);
        record.extend(events.iter().cloned());
        agree(access.as_ref().unwrap(), plain)?;
        always(&before, access.as_ref().unwrap(), &events, record, step)
    }
}

/// The lifecycle and the plain model say the same.
fn agree(access: &Access, plain: &Plain) -> Result<(), TestCaseError> {
    let phase = match access.state {
        AccessState::Scheduled { starts_at } => Phase::Scheduled(seconds(starts_at)),
        AccessState::Ready { use_by } => Phase::Ready(seconds(use_by)),
        AccessState::Active { since, until } => Phase::Active(seconds(since), seconds(until)),
        AccessState::Pending => Phase::Pending,
        AccessState::Claimed { .. } => Phase::Claimed,
        ref over => Phase::Over(over.name()),
    };
    prop_assert_eq!(&phase, &plain.phase);
    prop_assert_eq!(access.ended, plain.ended);
    let approved: BTreeSet<&str> = access.approvals.iter().map(|a| a.approver.as_str()).collect();
    prop_assert_eq!(approved, plain.approved.iter().map(|who| PEOPLE[*who].0).collect::<BTreeSet<_>>());
    Ok(())
}

fn seconds(at: Timestamp) -> i64 {
    at.micros() / 1_000_000 - common::NOON
}

/// What holds after every step, whoever does what.
fn always(before: &Access, after: &Access, events: &[AccessEvent], record: &[AccessEvent], step: &Step) -> Result<(), TestCaseError> {
    let count = |kind: &str| record.iter().filter(|event| event.kind() == kind).count();
    for once in ["access_request_submitted", "grant_given", "grant_activated", "action_claimed", "action_settled", "grant_ended"] {
        prop_assert!(count(once) <= 1, "{} happened twice", once);
    }
    if before.state.is_final() {
        prop_assert_eq!(&before.state, &after.state, "a final state was left");
        prop_assert!(events.iter().all(|event| event.kind() == "grant_ended"), "something else happened after the end");
    }
    prop_assert!(!after.ended || after.state.is_final(), "ended before it was over");
    if let (AccessState::Active { until: old, .. }, AccessState::Active { until: new, .. }) = (&before.state, &after.state) {
        prop_assert!(old == new || (new > old && matches!(events, [AccessEvent::Extended { .. }])), "the deadline moved by itself");
    }
    if let (Step::Revoke | Step::Deny { .. }, false) = (step, events.is_empty()) {
        prop_assert!(after.state.is_final(), "revoked or denied, and still {}", after.state.name());
    }
    if let (Some(AccessEvent::Revoked { at, .. }), AccessState::Active { until, .. }) = (events.last(), &before.state) {
        prop_assert!(at < until, "an expiry was rewritten as a revocation");
    }
    for approval in &after.approvals {
        prop_assert_eq!(approval.digest, after.digest, "an approval for another envelope counts");
        prop_assert!(!["alice", "deployer", "nia"].contains(&approval.approver.as_str()));
    }
    if events.iter().any(|event| event.kind() == "grant_given") {
        let filled = after.envelope.quorum.as_ref().is_none_or(|quorum| quorum.is_met_by(&after.counted()));
        prop_assert!(filled, "granted without the quorum that was shown");
    }
    for (same, label) in [
        (before.envelope.requester == after.envelope.requester, "requester"),
        (before.envelope.scope == after.envelope.scope, "scope"),
        (before.envelope.duration == after.envelope.duration, "duration"),
        (before.envelope.resource == after.envelope.resource, "resource"),
    ] {
        prop_assert!(same, "the {} changed", label);
    }
    prop_assert_eq!(after.envelope.digest().unwrap(), after.digest);
    let replayed = replay(None, record);
    prop_assert_eq!(replayed.as_ref(), Some(after), "the record replays to something else");
    let stream = StreamId::Access(after.envelope.access_request.clone());
    for event in events {
        let event = Event::from(event.clone());
        prop_assert_eq!(&Event::from_body(&stream, &event.to_body().unwrap()).unwrap(), &event);
    }
    Ok(())
}

fn policies() -> impl Strategy<Value = Policy> {
    prop_oneof![
        1 => Just(Policy::Deny),
        1 => Just(Policy::Needs { count: 0, dba: false }),
        6 => (1_u32..=3, any::<bool>()).prop_map(|(count, dba)| Policy::Needs { count, dba }),
    ]
}

fn steps() -> impl Strategy<Value = Step> {
    let who = 0..PEOPLE.len();
    prop_oneof![
        3 => (-120_i64..900).prop_map(Step::Advance),
        1 => prop_oneof![Just(-864_000_i64), Just(864_000), Just(-600), Just(600), Just(1_800), Just(3_600)].prop_map(Step::Advance),
        8 => (who.clone(), prop_oneof![6 => Just(Shown::Current), 1 => Just(Shown::First), 1 => Just(Shown::Other)])
            .prop_map(|(who, shown)| Step::Approve { who, shown }),
        1 => who.clone().prop_map(|who| Step::Deny { who }),
        1 => proptest::option::of(who.clone()).prop_map(|who| Step::Withdraw { who }),
        2 => Just(Step::Tick),
        2 => Just(Step::Activate),
        1 => (0_i64..4_000).prop_map(|seconds| Step::Extend { seconds }),
        1 => Just(Step::Apply),
        1 => who.clone().prop_map(|who| Step::Release { who }),
        1 => Just(Step::Revoke),
        2 => Just(Step::Claim),
        2 => Just(Step::Settle),
        2 => Just(Step::End),
        1 => policies().prop_map(Step::Change),
        1 => Just(Step::Rejudge),
        2 => (who, any::<bool>(), any::<bool>()).prop_map(|(who, disabled, may_approve)| Step::Standing { who, disabled, may_approve }),
    ]
}

fn scripts() -> impl Strategy<Value = Script> {
    let asked = (any::<bool>(), any::<bool>(), proptest::option::of(-600_i64..2_400));
    (policies(), proptest::collection::vec(asked, 1..4), proptest::collection::vec((0_usize..3, steps()), 1..80))
        .prop_map(|(policy, asked, steps)| Script { policy, asked, steps })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn f17_f14_f20_f23_f24_the_lifecycle_agrees_with_a_plain_model(script in scripts()) {
        let mut world = World::new(&script);
        for (access, record, plain, _) in &world.asked {
            agree(access.as_ref().unwrap(), plain)?;
            let replayed = replay(None, record);
            prop_assert_eq!(&replayed, access);
        }
        for (which, step) in &script.steps {
            world.run(*which, step)?;
        }
    }
}
