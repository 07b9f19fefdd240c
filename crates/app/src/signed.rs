//! Approvals that their givers signed: what policy asks for, and which of those that are recorded count.
//!
//! Nothing here believes the record: whenever an approval counts, its statement and signature are checked again against the envelope as
//! its digest is worked out now, the keys enrolled, and the level that the policy in force asks for.

use std::collections::BTreeMap;

use safeconduct_evidence::{Enrolled, Moment, Roster, SignedApproval, Site, Unproved, Verdict, prove, prove_all};
use safeconduct_lifecycle::{Access, AccessState, Actor, Approval, Command, Evidence};
use safeconduct_model::{Change, Digest, Envelope, Level, Outcome, Principal, PrincipalKind, PrincipalName, Timestamp};
use safeconduct_policy::Approvals;
use safeconduct_sql::Facts;

use crate::{
    identity::Caller,
    node::App,
    problem::{Problem, ProblemKind},
    world::{Work, World},
};

/// Most keys one person signs with.
const MOST_KEYS: usize = 10;

/// What signatures are checked with, whatever the store holds: given by the settings.
#[derive(Debug, Default)]
pub(crate) struct Trust {
    pub site: Site,
    /// Whose keys and groups count, and which policies: where there is one, the store's word for it does not.
    pub roster: Option<Roster>,
}

/// A statement about an access request and the signature under it, as they came.
#[derive(Clone, Debug)]
pub struct SignedStatement {
    pub statement: String,
    pub signature: String,
}

impl World {
    /// What approvals of this must be proved by, as the policy in force says.
    pub fn level(&self, envelope: &Envelope, facts: Option<&Facts>, now: Timestamp) -> Level {
        if self.bundle.policy.highest_level() == Level::Recorded {
            return Level::Recorded;
        }
        // Never depends on who has approved.
        self.judge_envelope(envelope, facts, Approvals::Unknown, now).obligations.level
    }

    /// The keys somebody has enrolled: those of the roster if there is one.
    pub fn enrolled(&self, name: &PrincipalName) -> Vec<Enrolled> {
        if let Some(roster) = &self.trust.roster {
            let Some(member) = roster.people.get(name) else { return Vec::new() };
            let since = |line: &str| {
                let known = self.directory.keys_of(name).find(|(known, _)| *known == line);
                known.map(|(_, since)| since).unwrap_or_default()
            };
            return member.keys.iter().filter_map(|line| Some(Enrolled { key: line.parse().ok()?, since: since(line) })).collect();
        }
        let keys = self.directory.keys_of(name);
        keys.filter_map(|(line, since)| Some(Enrolled { key: line.parse().ok()?, since })).collect()
    }

    /// True if the person could sign in here with a passkey.
    pub fn has_passkey(&self, name: &PrincipalName) -> bool {
        self.enrolled(name).iter().any(|enrolled| enrolled.key.application() == Some(self.trust.site.relying_party.as_str()))
    }

    /// How this principal could sign in, in the words that policy sees.
    pub fn ways_to_sign_in(&self, principal: &Principal) -> Vec<&'static str> {
        if principal.kind == PrincipalKind::Workload {
            return vec!["token"];
        }
        let mut ways = vec!["password"];
        ways.extend(self.has_passkey(&principal.name).then_some("passkey"));
        ways.extend(self.directory.identities(&principal.name).next().map(|_| "oidc"));
        ways
    }

    /// Recorded approvals that count for nothing because no signature proves them at this level, each with the reason.
    pub fn unproved_at(&self, access: &Access, level: Level, now: Timestamp) -> BTreeMap<PrincipalName, Unproved> {
        if level == Level::Recorded {
            return BTreeMap::new();
        }
        let signed = access.approvals.iter().filter_map(as_signed);
        let (proved, left_out) = prove_all(&access.envelope, signed, |name| self.enrolled(name), level, &self.trust.site, now);
        let mut unproved: BTreeMap<_, _> = left_out.into_iter().collect();
        for approval in &access.approvals {
            if !proved.iter().any(|one| one.statement.approver == approval.approver) {
                unproved.entry(approval.approver.clone()).or_insert(Unproved::UnknownKey);
            }
        }
        unproved
    }

    /// The roster, where approvals have to be signed.
    pub fn roster_at(&self, level: Level) -> Option<&Roster> {
        self.trust.roster.as_ref().filter(|_| level > Level::Recorded)
    }

    /// The person as far as the roster goes, where approvals are signed and there is one: in no group that it does not name.
    pub fn as_signed_for(&self, approver: &Principal, level: Level) -> Option<Principal> {
        let roster = self.roster_at(level)?;
        let member = roster.people.get(&approver.name);
        let mut limited = approver.clone();
        limited.groups.retain(|group, _| member.is_some_and(|member| member.groups.contains(group)));
        limited.disabled |= member.is_none();
        Some(limited)
    }

    /// True if the policy in force is one that the roster's keepers signed, or there is no roster.
    pub fn policy_is_signed(&self) -> bool {
        self.trust.roster.as_ref().is_none_or(|roster| roster.policies.contains(&self.bundle.hash))
    }

    /// Refuses a key that could not sign, is somebody's already, or is one too many. Gives the line to record.
    pub fn check_key(&self, change: &Change) -> Result<(), String> {
        let (Change::EnrolKey { name, key } | Change::RemoveKey { name, key }) = change else { return Ok(()) };
        let Some(principal) = self.directory.find(name) else { return Err(format!("there is no `{name}`")) };
        let owner = self.directory.key_of(key);
        if matches!(change, Change::RemoveKey { .. }) {
            return if owner == Some(name) { Ok(()) } else { Err(format!("this is no key of `{name}`")) };
        }
        if principal.kind != PrincipalKind::Person {
            return Err(format!("`{name}` is a workload; only people approve"));
        }
        let parsed: safeconduct_evidence::PublicKey =
            key.parse().map_err(|invalid: safeconduct_evidence::InvalidKey| invalid.to_string())?;
        if parsed.to_string() != *key {
            return Err("a key is named by its type and base64 alone, without a comment".to_owned());
        }
        match owner {
            Some(owner) => Err(format!("this key is `{owner}`'s already; one key is one person's")),
            None if self.directory.keys_of(name).count() >= MOST_KEYS => Err(format!("`{name}` has {MOST_KEYS} keys already")),
            None => Ok(()),
        }
    }
}

fn as_signed(approval: &Approval) -> Option<SignedApproval<'_>> {
    match &approval.evidence {
        Evidence::Signed { statement, signature, .. } => Some(SignedApproval { approver: &approval.approver, statement, signature }),
        Evidence::SignIn { .. } => None,
    }
}

/// A key that somebody signs with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyView {
    /// The line to name it by.
    pub key: String,
    pub fingerprint: String,
    pub enrolled_at: Timestamp,
}

impl App {
    /// The keys somebody may sign approvals with: one's own, or anybody's for those who audit.
    ///
    /// # Errors
    /// `REQ-008` for what the caller may not see.
    pub fn keys(&self, caller: &Caller, of: &PrincipalName) -> Result<Vec<KeyView>, Problem> {
        let world = self.world();
        if caller.name != *of && !self.audits(caller) {
            return Err(Problem::not_found("person"));
        }
        let views = world.enrolled(of).into_iter().map(|enrolled| KeyView {
            key: enrolled.key.to_string(),
            fingerprint: enrolled.key.fingerprint(),
            enrolled_at: enrolled.since,
        });
        Ok(views.collect())
    }

    /// Takes back, at a start, what the store says was approved and no signature proves.
    pub(crate) fn revoke_unproved(&self, work: &mut Work) {
        let signed_policy = work.world.policy_is_signed();
        if signed_policy && work.world.bundle.policy.highest_level() == Level::Recorded {
            return;
        }
        let open: Vec<_> = work.world.access.values().filter(|a| !a.state.is_final()).cloned().collect();
        for access in open {
            let facts = self.facts_of(&work.world, &access.envelope);
            let level = work.world.level(&access.envelope, facts.as_deref(), work.now);
            if (signed_policy && level == Level::Recorded) || access.state == AccessState::Pending {
                // What waits is counted, and proved, when it is decided.
                continue;
            }
            let unproved = work.world.unproved_at(&access, level, work.now);
            let judgement = work.world.judge_standing(&access, facts.as_deref(), work.now);
            let lasts_too_long =
                level > Level::Recorded && matches!(access.state, AccessState::Active { until, .. } if until > latest_end(&access));
            if judgement.outcome == Outcome::Allow && !lasts_too_long {
                continue;
            }
            let reasons: Vec<String> = unproved.iter().map(|(name, why)| format!("{name}: {why}")).collect();
            let why = match (signed_policy, reasons.is_empty()) {
                (false, _) => "the policy in force is not one that the holders of the root keys signed".to_owned(),
                (true, true) if lasts_too_long => "it lasts longer than was signed".to_owned(),
                (true, true) => "policy no longer allows it with those that count".to_owned(),
                (true, false) => reasons.join("; "),
            };
            let id = &access.envelope.access_request;
            tracing::error!(access_request = %id, why, "approved in the store, proved by nobody");
            let by = Actor::Gateway { cause: "evidence".to_owned() };
            let reason = format!("its approvals are not proved: {why}");
            if let Err(refused) = work.run(id, Command::Revoke { by, reason }) {
                tracing::warn!(access_request = %id, %refused, "not revoked");
            }
        }
    }
}

/// What is kept as evidence of this verdict: the signature that came with it, or the sign-in if that is enough.
pub(crate) fn evidence_of(
    work: &Work,
    caller: &Caller,
    access: &Access,
    verdict: Verdict,
    level: Level,
    signed: Option<SignedStatement>,
) -> Result<Evidence, Problem> {
    let Some(SignedStatement { statement, signature }) = signed else {
        if level == Level::Recorded || verdict == Verdict::Deny {
            // Saying no never waits for a key.
            return Ok(caller.evidence());
        }
        let asked_for = match level {
            Level::Passkey => "an approval of this takes a signature by a security key or passkey",
            _ => "an approval of this takes a signature",
        };
        return Err(Problem::new("APPROVE-004", ProblemKind::Denied, asked_for)
            .why("policy asks for it, so that nobody with the gateway's store could make one up")
            .next(format!("sign it with a key enrolled for you: `safeconduct approve {} --key FILE`", access.envelope.access_request)));
    };
    let approval = SignedApproval { approver: &caller.name, statement: &statement, signature: &signature };
    let keys = work.world.enrolled(&caller.name);
    let level = if verdict == Verdict::Deny { Level::Signed } else { level.max(Level::Signed) };
    prove(&access.envelope, verdict, &approval, &keys, level, &work.world.trust.site, Moment::Signing(work.now)).map_err(|unproved| {
        Problem::new("APPROVE-005", ProblemKind::Denied, "the signature does not count")
            .why(unproved.to_string())
            .next("`key list` lists the keys enrolled for you; sign what `show` shows now")
    })?;
    // Canonical, so this is the digest of the text that was signed and of what the ledger says is in force.
    let roster = work.world.trust.roster.as_ref().and_then(|roster| Digest::of(roster).ok());
    Ok(Evidence::Signed { statement, signature, roster, sign_in: caller.sign_in.clone(), source: caller.source.clone() })
}

/// The last moment to which the signatures there are could carry a window.
fn latest_end(access: &Access) -> Timestamp {
    let signed_at = access.approvals.iter().filter_map(as_signed).filter_map(|signed| {
        let statement = safeconduct_evidence::Statement::read(signed.statement).ok()?;
        Some(statement.signed_at)
    });
    let begun = access.envelope.starts_at.unwrap_or_default().max(signed_at.max().unwrap_or_default());
    begun.after(access.envelope.duration).plus_seconds(safeconduct_evidence::CLOCK_TOLERANCE_SECONDS)
}
