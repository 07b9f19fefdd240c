//! Named cases: what must never happen to an access request or its grant, one test each. The id is the failure case's.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::*;
use safeconduct_lifecycle::{
    Access, AccessEvent, AccessState, Command, Directory, DirectoryEvent, ExactOutcome, Refused, Reviewer, Withdrawal, decide, evolve,
};
use safeconduct_model::{Decision, Digest, Envelope, Origin, Outcome, PrincipalKind, Timestamp};

fn revoke(by: &str) -> Command {
    Command::Revoke { by: person(by), reason: "stop".into() }
}

fn deny_by(by: Reviewer) -> Command {
    Command::Deny { by, comment: words("no"), evidence: evidence() }
}

fn settled() -> Command {
    Command::Settle { outcome: ExactOutcome::Failed { sqlstate: "42P01".into(), message: "no such table".into() } }
}

fn bob() -> Reviewer {
    reviewer("bob", &["dba"])
}

/// Policy's new answer, with the envelope issued anew for it.
fn rejudge(access: &Access, judgement: Decision, without_approvals: Decision) -> Command {
    let quorum = match &without_approvals.outcome {
        Outcome::NeedApproval { quorum } => Some(quorum.clone()),
        Outcome::Allow | Outcome::Deny => None,
    };
    let reissued = Envelope { policy: without_approvals.policy, quorum, nonce: "f".repeat(32), ..access.envelope.clone() };
    Command::Rejudge { judgement, without_approvals, reissued: Box::new(reissued) }
}

#[test]
fn f01_at_the_deadline_a_grant_is_over_even_before_a_tick_says_so() {
    let mut story = Story::granted(window());
    assert!(story.now().is_live(at(1_799)));
    assert!(!story.now().is_live(at(1_800)));
    assert_eq!(story.run(Command::Tick, at(1_799)).unwrap(), vec![]);
    assert_eq!(story.run(Command::Tick, at(1_800)).unwrap(), vec![AccessEvent::Expired { at: at(1_800) }]);
    assert_eq!(story.run(Command::Tick, at(9_999)).unwrap(), vec![], "it expires once");
}

#[test]
fn f02_nothing_but_an_extension_moves_the_deadline() {
    let mut story = Story::granted(window());
    let until = |story: &Story| story.now().deadline().unwrap();
    for command in [Command::Tick, rejudge(story.now(), allow(), allow()), Command::End] {
        story.run(command, at(1_799)).unwrap();
        assert_eq!(until(&story), at(1_800));
    }
    assert_eq!(story.run(Command::Activate { judgement: allow() }, at(1_799)), Err(Refused::WrongState { state: "active" }));
    let by = safeconduct_model::AccessRequestId::from_bits(2);
    assert_eq!(story.run(Command::Extend { until: at(1_800), by: by.clone() }, at(1_799)), Err(Refused::NotLater));
    story.run(Command::Extend { until: at(3_600), by: by.clone() }, at(1_799)).unwrap();
    assert_eq!(until(&story), at(3_600));
    assert_eq!(story.run(Command::Extend { until: at(9_000), by }, at(3_600)), Err(Refused::TooLate), "what is over is not extended");
}

#[test]
fn f02_a_late_activation_does_not_lengthen_a_scheduled_grant() {
    let mut envelope = envelope(1, window(), &allow());
    envelope.starts_at = Some(at(600));
    let mut story = Story::asked(envelope.clone(), allow(), at(0));
    assert_eq!(story.run(Command::Activate { judgement: allow() }, at(599)), Err(Refused::TooEarly));
    story.run(Command::Activate { judgement: allow() }, at(2_000)).unwrap();
    assert_eq!(story.now().state, AccessState::Active { since: at(2_000), until: at(2_400) });

    let mut missed = Story::asked(envelope, allow(), at(0));
    assert_eq!(missed.run(Command::Activate { judgement: allow() }, at(2_400)).unwrap(), vec![AccessEvent::Expired { at: at(2_400) }]);
}

#[test]
fn f03_whatever_takes_a_right_away_leaves_none() {
    type Make = fn() -> Story;
    let scheduled: Make = || {
        let mut envelope = envelope(1, window(), &allow());
        envelope.starts_at = Some(at(600));
        Story::asked(envelope, allow(), at(0))
    };
    let makes: [(&str, Make); 4] = [
        ("pending", || Story::pending(window())),
        ("scheduled", scheduled),
        ("ready", || Story::granted(exact())),
        ("active", || Story::granted(window())),
    ];
    for (state, make) in makes {
        for end in [revoke("ann"), deny_by(bob()), rejudge(make().now(), deny(), deny())] {
            let mut story = make();
            assert_eq!(story.state(), state);
            story.run(end.clone(), at(60)).unwrap();
            assert!(story.now().state.is_final(), "{state}: {end:?} left it {}", story.state());
            assert!(!story.now().is_live(at(60)) && !story.now().is_live(at(1_000)));
            for again in [Command::Activate { judgement: allow() }, Command::Claim { judgement: allow() }] {
                assert!(story.run(again, at(700)).is_err(), "{state}: came back after {end:?}");
            }
        }
    }
}

#[test]
fn f03_a_stored_event_that_does_not_fit_brings_nothing_back() {
    let mut story = Story::granted(window());
    story.run(revoke("ann"), at(60)).unwrap();
    let granted = story.events.iter().find(|event| event.kind() == "grant_given").unwrap().clone();
    for event in [
        AccessEvent::Activated { at: at(61), until: at(9_000) },
        AccessEvent::Extended { at: at(61), until: at(9_000), by: safeconduct_model::AccessRequestId::from_bits(2) },
        AccessEvent::Claimed { at: at(61) },
        granted,
    ] {
        let after = evolve(story.access.clone(), &event).unwrap();
        assert_eq!(after.state, story.now().state, "{event:?}");
        assert_eq!(after.version, story.now().version + 1, "the event is counted all the same");
    }
}

#[test]
fn f03_a_running_action_is_not_pulled_from_under_its_outcome() {
    let mut story = Story::granted(exact());
    story.run(Command::Claim { judgement: allow() }, at(10)).unwrap();
    for command in [revoke("ann"), deny_by(bob()), Command::Release { by: name("alice") }] {
        assert_eq!(story.run(command, at(20)), Err(Refused::Running));
    }
    assert_eq!(story.run(Command::Tick, at(99_999)).unwrap(), vec![], "a claim excludes expiry");
    story.run(settled(), at(30)).unwrap();
    assert_eq!(story.state(), "settled");
}

#[test]
fn f03_revoking_what_was_never_granted_leaves_nothing_to_end() {
    let mut story = Story::pending(window());
    story.run(revoke("ann"), at(60)).unwrap();
    assert!(story.now().ended);
    assert_eq!(story.run(Command::End, at(61)).unwrap(), vec![]);
    let mut granted = Story::granted(window());
    granted.run(revoke("ann"), at(60)).unwrap();
    assert!(!granted.now().ended, "sessions are cut first");
    assert_eq!(granted.run(Command::End, at(61)).unwrap(), vec![AccessEvent::Ended { at: at(61) }]);
    assert_eq!(granted.run(Command::End, at(62)).unwrap(), vec![]);
}

#[test]
fn f03_an_end_on_time_is_never_rewritten_as_a_revocation() {
    for (mut story, over) in [(Story::granted(window()), 1_800), (Story::granted(exact()), 1_800), (Story::pending(window()), 3_600)] {
        let granted = story.state() != "pending";
        assert_eq!(story.run(revoke("ann"), at(over)), Err(Refused::TooLate));
        assert_eq!(story.run(deny_by(bob()), at(over)), Err(Refused::TooLate));
        if granted {
            assert_eq!(story.run(Command::Release { by: name("alice") }, at(over)), Err(Refused::TooLate));
        }
        story.run(rejudge(story.now(), deny(), deny()), at(over)).unwrap();
        assert_eq!(story.state(), if granted { "expired" } else { "lapsed" }, "a new policy is not to blame");
    }
}

#[test]
fn f04_of_two_grants_of_one_right_ending_one_changes_nothing() {
    let mut first = Story::granted(window());
    let second = Story::asked(envelope(2, window(), &allow()), allow(), at(1_800));
    let live =
        |first: &Story, second: &Story, now: Timestamp| usize::from(first.now().is_live(now)) + usize::from(second.now().is_live(now));
    assert_eq!(live(&first, &second, at(1_799)), 1);
    assert_eq!(live(&first, &second, at(1_800)), 1, "one ends in the second the other starts: no gap");
    let overlapping = Story::asked(envelope(3, window(), &allow()), allow(), at(100));
    assert_eq!(live(&first, &overlapping, at(200)), 2);
    first.run(revoke("ann"), at(200)).unwrap();
    assert_eq!(live(&first, &overlapping, at(200)), 1);
}

#[test]
fn f08_fifteen_thousand_expiries_are_decided_in_one_pass() {
    let grants: Vec<Access> = (0..15_000).map(|n| Story::asked(envelope(n, window(), &allow()), allow(), at(0)).access.unwrap()).collect();
    let pass = |grants: &[Access], now: Timestamp| -> Vec<AccessEvent> {
        grants.iter().flat_map(|access| decide(Some(access), Command::Tick, now).unwrap()).collect()
    };
    assert_eq!(pass(&grants, at(1_799)).len(), 0);
    let events = pass(&grants, at(1_800));
    assert_eq!(events.len(), 15_000, "one decision each, none left for a second pass");
    let after: Vec<Access> = grants.into_iter().zip(&events).map(|(access, event)| evolve(Some(access), event).unwrap()).collect();
    assert_eq!(pass(&after, at(1_801)).len(), 0);
}

#[test]
fn f14_leaps_and_backward_jumps_of_the_clock_give_no_longer_grant() {
    let mut story = Story::granted(window());
    for jump in [-864_000, -600, 864_000, 900, 600] {
        story.run(Command::Tick, at(jump.min(1_799))).unwrap();
        assert_eq!(story.now().deadline(), Some(at(1_800)), "the deadline is absolute");
    }
    assert!(!story.now().is_live(at(-1)), "not live before it began");
    story.run(Command::Tick, at(864_000)).unwrap();
    assert_eq!(story.state(), "expired");
    for back in [-600, 0, 600] {
        assert!(!story.now().is_live(at(back)), "a clock set back revives nothing");
        assert!(story.run(Command::Activate { judgement: allow() }, at(back)).is_err());
    }
}

#[test]
fn f14_a_grant_made_while_the_clock_was_ahead_is_not_live_when_it_is_set_right() {
    let ahead = Story::asked(envelope(1, window(), &allow()), allow(), at(600));
    assert!(!ahead.now().is_live(at(0)));
    let at_the_end_of_time = Timestamp::from_micros(i64::MAX);
    let saturated = Story::asked(envelope(2, window(), &allow()), allow(), at_the_end_of_time);
    assert!(!saturated.now().is_live(at_the_end_of_time), "a deadline that saturates is not later than its start");
}

#[test]
fn f17_one_approval_more_than_needed_gives_no_second_grant() {
    let mut story = Story::pending(window());
    let seen = story.now().clone();
    story.approve(bob(), vec![], allow(), at(10)).unwrap();
    assert_eq!(story.approve(reviewer("dora", &["dba"]), vec![bob()], allow(), at(10)), Err(Refused::NotPending { state: "active" }));
    assert_eq!(story.count("grant_given"), 1);
    // Both decided against the same state: the store lets one of the two appends through, and replay ignores a second one.
    let approve =
        |by| Command::Approve { by, digest: seen.digest, comment: None, evidence: evidence(), others: vec![], judgement: allow() };
    let both = [approve(bob()), approve(reviewer("dora", &["dba"]))].map(|command| decide(Some(&seen), command, at(10)).unwrap());
    let raced = safeconduct_lifecycle::replay(Some(seen), both.iter().flatten()).unwrap();
    assert_eq!(raced.approvals.len(), 1);
    assert_eq!(raced.state, AccessState::Active { since: at(10), until: at(1_810) });
}

#[test]
fn f17_an_exact_action_is_claimed_once_and_never_again() {
    let mut story = Story::granted(exact());
    story.run(Command::Claim { judgement: allow() }, at(10)).unwrap();
    assert_eq!(story.run(Command::Claim { judgement: allow() }, at(10)), Err(Refused::Running));
    story.run(Command::Settle { outcome: ExactOutcome::Unknown { why: "the gateway died".into() } }, at(11)).unwrap();
    assert_eq!(story.run(Command::Claim { judgement: allow() }, at(12)), Err(Refused::WrongState { state: "settled" }));
    assert_eq!(story.run(settled(), at(12)), Err(Refused::WrongState { state: "settled" }), "an outcome is not rewritten");
    assert_eq!((story.count("action_claimed"), story.count("action_settled")), (1, 1));
}

#[test]
fn f17_a_submission_happens_once() {
    let mut story = Story::pending(window());
    let again = Command::Submit { envelope: Box::new(envelope(1, window(), &allow())), decision: allow() };
    assert_eq!(story.run(again, at(1)), Err(Refused::Exists));
    assert_eq!(decide(None, Command::Tick, at(0)), Err(Refused::Missing));
}

#[test]
fn f18_an_approval_used_twice_late_by_someone_else_or_after_withdrawal_does_nothing() {
    let two = need(&[(2, &[])]);
    let mut twice = Story::asked(envelope(1, window(), &two), two.clone(), at(0));
    twice.approve(bob(), vec![], two.clone(), at(10)).unwrap();
    assert_eq!(twice.approve(bob(), vec![bob()], allow(), at(11)), Err(Refused::AlreadyApproved));

    let mut late = Story::pending(window());
    assert_eq!(late.approve(bob(), vec![], allow(), at(3_600)), Err(Refused::TooLate), "also before a tick says so");

    let mut other = Story::pending(window());
    let carol = Reviewer { may_approve: false, ..reviewer("carol", &["audit"]) };
    assert_eq!(other.approve(carol, vec![], allow(), at(10)), Err(Refused::NotEligible));

    let mut gone = Story::pending(window());
    assert_eq!(gone.run(Command::Withdraw { by: person("bob"), why: Withdrawal::Cancelled }, at(5)), Err(Refused::NotHolder));
    gone.run(Command::Withdraw { by: person("alice"), why: Withdrawal::Cancelled }, at(5)).unwrap();
    assert_eq!(gone.approve(bob(), vec![], allow(), at(10)), Err(Refused::NotPending { state: "withdrawn" }));
    for story in [twice, late, other, gone] {
        assert_eq!(story.count("grant_given"), 0);
    }
}

#[test]
fn f20_an_approval_for_any_other_digest_is_refused() {
    let mut story = Story::pending(exact());
    for digest in [Digest::of_bytes(b""), Digest::of_bytes(b"x"), envelope(2, exact(), &need(&[(1, &["dba"])])).digest().unwrap()] {
        let approve = Command::Approve { by: bob(), digest, comment: None, evidence: evidence(), others: vec![], judgement: allow() };
        assert_eq!(story.run(approve, at(10)), Err(Refused::DigestMismatch));
    }
    assert_eq!(story.events.len(), 1);
}

#[test]
fn f20_an_envelope_that_was_swapped_under_its_digest_is_not_approved() {
    let mut story = Story::pending(exact());
    let access = story.access.as_mut().unwrap();
    access.envelope.duration = ttl(86_400);
    assert_eq!(story.approve(bob(), vec![], allow(), at(10)), Err(Refused::DigestMismatch));
}

#[test]
fn f20_issuing_anew_changes_nothing_that_was_asked() {
    let mut story = Story::pending(exact());
    let old = story.now().envelope.clone();
    let two = need(&[(2, &[])]);
    let Command::Rejudge { judgement, without_approvals, mut reissued } = rejudge(story.now(), two.clone(), two) else { unreachable!() };
    reissued.requester = name("mallory");
    reissued.scope = window();
    reissued.duration = ttl(86_400);
    reissued.pending_until = at(999_999);
    story.run(Command::Rejudge { judgement, without_approvals, reissued }, at(10)).unwrap();
    let new = &story.now().envelope;
    assert_eq!((&new.requester, &new.scope, new.duration), (&old.requester, &old.scope, old.duration));
    assert_eq!(new.pending_until, old.pending_until);
    assert_ne!(new.quorum, old.quorum);
}

#[test]
fn f21_a_quorum_without_a_bar_is_filled_by_nobody() {
    let none = need(&[]);
    let mut story = Story::asked(envelope(1, window(), &none), none, at(0));
    story.approve(bob(), vec![], allow(), at(10)).unwrap();
    story.approve(reviewer("dora", &["dba"]), vec![bob()], allow(), at(11)).unwrap();
    assert_eq!(story.state(), "pending");
    assert_eq!(story.count("grant_given"), 0);
}

#[test]
fn f22_a_policy_that_fails_is_a_denial_never_an_approval() {
    let mut failed = deny();
    failed.reasons[0].effect = "error".into();
    let mut story = Story::pending(window());
    story.approve(bob(), vec![], failed.clone(), at(10)).unwrap();
    assert_eq!((story.state(), story.count("grant_given")), ("refused", 0));

    let mut claim = Story::granted(exact());
    assert_eq!(claim.run(Command::Claim { judgement: failed.clone() }, at(10)), Err(Refused::DeniedByPolicy));
    assert_eq!(claim.count("action_claimed"), 0);
    let unsure = need(&[(1, &[])]);
    assert_eq!(claim.run(Command::Claim { judgement: unsure }, at(10)), Err(Refused::DeniedByPolicy));
}

#[test]
fn f22_policy_and_quorum_must_both_agree() {
    let two = need(&[(2, &["dba"])]);
    let mut story = Story::asked(envelope(1, window(), &two), two.clone(), at(0));
    story.approve(bob(), vec![], allow(), at(10)).unwrap();
    assert_eq!(story.state(), "pending", "policy allows, the quorum that was shown is not met");
    story.approve(reviewer("dora", &["dba"]), vec![bob()], two, at(11)).unwrap();
    assert_eq!(story.state(), "pending", "the quorum is met, policy asks for more");
}

#[test]
fn f23_nobody_approves_their_own_whatever_they_are() {
    let alice = Reviewer { groups: vec!["dba".parse().unwrap(), "administrators".parse().unwrap()], ..reviewer("alice", &[]) };
    for scope in [window(), exact(), administration()] {
        let mut story = Story::pending(scope);
        assert_eq!(story.approve(alice.clone(), vec![], allow(), at(10)), Err(Refused::SelfApproval));
        assert_eq!(story.run(deny_by(alice.clone()), at(10)), Err(Refused::SelfApproval));
    }
    let decision = need(&[(1, &["dba"])]);
    let mut extension = envelope(1, window(), &decision);
    extension.origin = Origin::Extension { of: extension.access_request.grant() };
    let mut held = envelope(2, exact(), &decision);
    held.origin = Origin::Held { session: safeconduct_model::SessionId::from_bits(1), in_transaction: true };
    for envelope in [extension, held] {
        let mut story = Story::asked(envelope, decision.clone(), at(0));
        assert_eq!(story.approve(alice.clone(), vec![], allow(), at(10)), Err(Refused::SelfApproval));
    }
}

#[test]
fn f23_f56_only_people_of_standing_approve() {
    let cases = [
        (Reviewer { kind: PrincipalKind::Workload, ..reviewer("deployer", &["dba"]) }, Refused::NotAPerson),
        (Reviewer { disabled: true, ..bob() }, Refused::Disabled),
        (Reviewer { created_at: at(1), ..reviewer("nia", &["dba"]) }, Refused::TooNew),
        (Reviewer { may_approve: false, ..bob() }, Refused::NotEligible),
    ];
    for (by, why) in cases {
        let mut story = Story::pending(window());
        assert_eq!(story.approve(by, vec![], allow(), at(10)), Err(why));
        assert_eq!(story.events.len(), 1);
    }
}

#[test]
fn f24_an_approver_who_lost_the_right_before_the_quorum_does_not_count() {
    type Lose = fn(Reviewer) -> Option<Reviewer>;
    let losses: [(&str, Lose); 4] = [
        ("disabled", |bob| Some(Reviewer { disabled: true, ..bob })),
        ("no longer allowed by policy", |bob| Some(Reviewer { may_approve: false, ..bob })),
        ("out of the group", |bob| Some(Reviewer { groups: vec![], ..bob })),
        ("gone", |_| None),
    ];
    for (how, lose) in losses {
        let two = need(&[(2, &["dba"])]);
        let mut story = Story::asked(envelope(1, window(), &two), two.clone(), at(0));
        story.approve(bob(), vec![], two.clone(), at(10)).unwrap();
        story.approve(reviewer("carol", &["audit"]), lose(bob()).into_iter().collect(), allow(), at(20)).unwrap();
        assert_eq!((story.state(), story.count("grant_given")), ("pending", 0), "{how}");
        story.approve(reviewer("dora", &["dba"]), vec![reviewer("carol", &["audit"])], allow(), at(30)).unwrap();
        assert_eq!(story.state(), "active", "{how}: two who stand suffice");
    }
}

#[test]
fn f29_a_person_in_several_groups_counts_once() {
    let both = need(&[(2, &["dba", "owners"])]);
    let mut story = Story::asked(envelope(1, window(), &both), both.clone(), at(0));
    story.approve(reviewer("bob", &["dba", "owners"]), vec![], allow(), at(10)).unwrap();
    assert_eq!(story.state(), "pending");
    story.approve(reviewer("dora", &["dba"]), vec![reviewer("bob", &["dba", "owners"])], allow(), at(11)).unwrap();
    assert_eq!(story.state(), "active");
}

#[test]
fn f29_joining_a_group_after_the_asking_counts_for_nothing() {
    let mut directory = Directory::default();
    let by = gateway("bootstrap");
    directory.evolve(&DirectoryEvent::PersonCreated { name: name("eve"), display_name: "Eve".into(), at: at(-60), by: by.clone() });
    directory.evolve(&DirectoryEvent::MemberAdded { group: "dba".parse().unwrap(), name: name("eve"), at: at(1), by: by.clone() });
    let eve = directory.find(&name("eve")).unwrap();
    assert_eq!(eve.groups_since_before(at(0)), vec![]);
    // Added once more later does not make the membership younger, and re-joining does not make it older.
    directory.evolve(&DirectoryEvent::MemberAdded { group: "dba".parse().unwrap(), name: name("eve"), at: at(50), by: by.clone() });
    assert_eq!(directory.find(&name("eve")).unwrap().groups_since_before(at(1)).len(), 1);
    directory.evolve(&DirectoryEvent::MemberRemoved { group: "dba".parse().unwrap(), name: name("eve"), at: at(60), by: by.clone() });
    directory.evolve(&DirectoryEvent::MemberAdded { group: "dba".parse().unwrap(), name: name("eve"), at: at(70), by });
    assert_eq!(directory.find(&name("eve")).unwrap().groups_since_before(at(50)), vec![]);
}

#[test]
fn f50_a_changed_quorum_voids_the_approvals_and_issues_the_envelope_anew() {
    let two = need(&[(2, &[])]);
    let mut story = Story::asked(envelope(1, window(), &two), two.clone(), at(0));
    story.approve(bob(), vec![], two.clone(), at(10)).unwrap();
    let shown = story.now().digest;
    let stricter = answer(Outcome::NeedApproval { quorum: quorum(&[(2, &["dba"])]) }, "v2");
    story.run(rejudge(story.now(), stricter.clone(), stricter), at(20)).unwrap();
    assert_eq!((story.now().approvals.len(), story.state()), (0, "pending"));
    let late = Command::Approve { by: bob(), digest: shown, comment: None, evidence: evidence(), others: vec![], judgement: allow() };
    assert_eq!(story.run(late, at(21)), Err(Refused::DigestMismatch), "a click on what was shown before");
    story.approve(bob(), vec![], allow(), at(22)).unwrap();
    assert_eq!(story.state(), "pending", "the voided approval does not come back");
    story.approve(reviewer("dora", &["dba"]), vec![bob()], allow(), at(23)).unwrap();
    assert_eq!(story.state(), "active");
}

#[test]
fn f50_changed_obligations_void_and_the_same_answer_keeps() {
    let two = need(&[(2, &[])]);
    let asked = || {
        let mut story = Story::asked(envelope(1, window(), &two), two.clone(), at(0));
        story.approve(bob(), vec![], two.clone(), at(10)).unwrap();
        story
    };
    let mut same = asked();
    let v2 = Decision { policy: Digest::of_bytes(b"v2"), ..two.clone() };
    same.run(rejudge(same.now(), v2.clone(), v2.clone()), at(20)).unwrap();
    assert_eq!(same.now().approvals.len(), 1);
    assert_eq!((same.now().envelope.policy, same.now().decision.policy), (two.policy, v2.policy), "both hashes stay on record");

    let mut stricter = asked();
    let mut watched = v2;
    watched.obligations.record = safeconduct_model::Record::Full;
    stricter.run(rejudge(stricter.now(), watched.clone(), watched), at(20)).unwrap();
    assert_eq!(stricter.now().approvals.len(), 0);
}

#[test]
fn f50_a_lapsed_access_request_is_not_granted_by_a_kinder_policy() {
    let mut story = Story::pending(window());
    story.run(rejudge(story.now(), allow(), allow()), at(3_600)).unwrap();
    assert_eq!((story.state(), story.count("grant_given")), ("lapsed", 0));
}

#[test]
fn f55_a_freeze_is_a_policy_that_denies_and_it_ends_what_is_live() {
    let freeze = answer(Outcome::Deny, "freeze");
    for (mut story, becomes) in
        [(Story::granted(window()), "revoked"), (Story::granted(exact()), "revoked"), (Story::pending(window()), "refused")]
    {
        story.run(rejudge(story.now(), freeze.clone(), freeze.clone()), at(60)).unwrap();
        assert_eq!(story.state(), becomes);
        assert!(!story.now().is_live(at(60)));
    }
    let mut running = Story::granted(exact());
    running.run(Command::Claim { judgement: allow() }, at(10)).unwrap();
    assert_eq!(running.run(rejudge(running.now(), freeze.clone(), freeze), at(60)).unwrap(), vec![], "what runs is settled, not guessed");
}

#[test]
fn an_exact_action_for_later_is_not_run_before_its_time() {
    let mut envelope = envelope(1, exact(), &allow());
    envelope.starts_at = Some(at(600));
    let mut story = Story::asked(envelope, allow(), at(0));
    assert_eq!(story.run(Command::Claim { judgement: allow() }, at(599)), Err(Refused::TooEarly));
    assert_eq!(story.now().deadline(), Some(at(2_400)));
    story.run(Command::Claim { judgement: allow() }, at(600)).unwrap();
}

#[test]
fn an_extension_is_applied_and_gives_nothing_of_its_own() {
    let mut envelope = envelope(1, window(), &allow());
    envelope.origin = Origin::Extension { of: safeconduct_model::AccessRequestId::from_bits(9).grant() };
    let mut story = Story::asked(envelope, allow(), at(0));
    story.run(Command::Apply, at(0)).unwrap();
    assert_eq!(story.state(), "applied");
    assert!(!story.now().is_live(at(1)));
    assert_eq!(Story::granted(window()).run(Command::Apply, at(0)), Err(Refused::WrongState { state: "active" }));
}

#[test]
fn who_stops_a_running_action_is_recorded_and_its_outcome_still_comes() {
    let mut story = Story::granted(exact());
    let stop = || Command::Stop { by: person("ann"), reason: "stop".into() };
    assert!(story.run(stop(), at(61)).is_err(), "nothing runs yet");
    story.run(Command::Claim { judgement: allow() }, at(61)).unwrap();
    let events = story.run(stop(), at(62)).unwrap();
    assert!(matches!(&events[..], [AccessEvent::StopRequested { by, .. }] if *by == person("ann")), "{events:?}");
    assert_eq!(story.state(), "claimed");
    story.run(settled(), at(63)).unwrap();
    assert_eq!(story.state(), "settled");
    assert!(story.run(stop(), at(64)).is_err());
}
