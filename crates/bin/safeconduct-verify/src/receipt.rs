//! Receipts: one access request from its asking to its end, each step proved to be in the ledger and each signature checked.
//!
//! Decides what a receipt proves by itself. Believes nothing that no proof, commitment or signature leads to, and says what it can't know:
//! that a signature was asked for, and that nothing followed the last step it holds.
//!
//! Whose key is whose: the roster that an approval names says it, and nothing else; where it names none, the entries that enrolled keys.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use safeconduct_evidence::{Enrolled, Moment, Roots, Signature, SignedApproval, Site, Verdict, prove};
use safeconduct_ledger::{EntryProof, StoredBody, VerifierKey, explain};
use safeconduct_model::{AccessRequestId, Counted, Digest, Envelope, GroupName, Level, PrincipalName, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    printable,
    rosters::{Applied, ProvedRoster, ReceiptRoster, Rosters},
};

/// Largest receipt that is read, in bytes.
pub const MAX_RECEIPT_BYTES: usize = 64 << 20;
/// Most steps of one receipt.
const MAX_ENTRIES: usize = 10_000;

/// A receipt as it is written down: docs/specs/receipt.md.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// 2 if it holds rosters, else 1.
    pub v: u32,
    pub access_request: String,
    /// Every step of the access request in order, after what says whose keys signed: rosters that came into force, enrolments of keys.
    pub entries: Vec<ReceiptEntry>,
    /// What those rosters say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rosters: Vec<ReceiptRoster>,
}

/// One entry of the ledger with its proof and what it commits to.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReceiptEntry {
    pub index: u64,
    /// `c2sp.org/tlog-proof@v1`, with its checkpoint.
    pub proof: String,
    /// Key of the commitment, base64.
    pub key: String,
    pub body: String,
}

/// What a receipt proves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Proved {
    pub access_request: AccessRequestId,
    pub digest: String,
    pub requester: PrincipalName,
    pub resource: String,
    pub gateway: String,
    pub reason: String,
    /// The statement, or the operations asked for.
    pub what: String,
    pub approvals: Vec<ProvedApproval>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rosters: Vec<ProvedRoster>,
    /// How far signatures alone carry what came of it. `None` if nothing did, nobody had to approve, or no roster is in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quorum: Option<ProvedQuorum>,
    /// The policy that asked for the approvals. `None` if no approval names a roster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<ProvedPolicy>,
    /// The last step's name, and how an exact action ended if it says so.
    pub last: String,
    pub outcome: Option<Value>,
    pub entries: usize,
    /// Size of the largest checkpoint that a proof leads to, and whose signature it has.
    pub checkpoint: u64,
    pub signed_by: String,
}

/// One approval, and what shows that it was its giver's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProvedApproval {
    pub approver: PrincipalName,
    /// `None`: the gateway's record is all there is.
    pub key: Option<String>,
    /// The entry that enrolled the key, where no roster says whose it is.
    pub enrolled_in: Option<u64>,
    /// The roster that lists the key as this person's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roster: Option<OfRoster>,
    /// The page it was signed on.
    pub page: Option<String>,
    /// The authenticator checked who its user is.
    pub verified: bool,
}

/// A roster by its epoch, and the entry that put it into force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct OfRoster {
    pub epoch: u64,
    pub entry: u64,
}

/// Who had to approve, and whether those did whom the roster in force knew when something came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProvedQuorum {
    pub quorum: String,
    pub roster: OfRoster,
    /// True if signatures by keys of that roster meet it, with the groups that roster and record both name.
    pub met: bool,
}

/// Whether the roster that the last signed approval names holds the hash of the policy that asked for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProvedPolicy {
    pub hash: String,
    pub roster: OfRoster,
    pub signed: bool,
}

/// Why a receipt proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotProved(String);

pub(crate) fn broken(what: impl fmt::Display) -> NotProved {
    NotProved(what.to_string())
}

impl fmt::Display for Proved {
    /// For people, in several lines.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} on `{}` of {}", self.access_request, self.resource, printable(&self.gateway))?;
        writeln!(f, "  asked by {}: “{}”", self.requester, printable(&self.reason))?;
        writeln!(f, "  what: {}", printable(&self.what))?;
        writeln!(f, "  {}", self.digest)?;
        for approval in &self.approvals {
            write!(f, "  approved by {}", approval.approver)?;
            match (&approval.key, approval.roster, approval.enrolled_in) {
                (Some(key), Some(roster), _) => write!(f, ", signed with {key}, of the {roster}")?,
                (Some(key), None, Some(entry)) => write!(f, ", signed with {key}, enrolled in entry {entry}")?,
                _ => write!(f, ": the gateway's record alone, no signature")?,
            }
            if let Some(page) = &approval.page {
                write!(f, ", on the page of {}", printable(page))?;
            }
            writeln!(f, "{}", if approval.verified { ", its user checked" } else { "" })?;
        }
        if let Some(ProvedQuorum { quorum, roster, met }) = &self.quorum {
            let how = if *met { "met by signatures of people of" } else { "not met by signatures alone of people of" };
            writeln!(f, "  quorum: {quorum}; {how} the {roster}")?;
        }
        if let Some(ProvedPolicy { hash, roster, signed }) = &self.policy {
            writeln!(f, "  policy {hash}: {} by the {roster}", if *signed { "vouched for" } else { "not vouched for" })?;
        }
        for roster in &self.rosters {
            writeln!(f, "  {roster}")?;
        }
        let outcome = self.outcome.as_ref().map(|outcome| format!(" {}", printable(&outcome.to_string()))).unwrap_or_default();
        writeln!(f, "  last step: {}{outcome}", self.last)?;
        writeln!(
            f,
            "  {} entries of the ledger, under checkpoint {} signed by {}",
            self.entries,
            self.checkpoint,
            printable(&self.signed_by)
        )
    }
}

impl fmt::Display for OfRoster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "roster of epoch {} (entry {})", self.epoch, self.entry)
    }
}

/// A step that is proved to be in the ledger.
struct Step {
    index: u64,
    version: u64,
    kind: String,
    at: i64,
    body: Value,
}

impl Receipt {
    /// Reads a receipt. Says nothing about whether it holds.
    ///
    /// # Errors
    /// [`NotProved`] for anything but the format.
    pub fn parse(bytes: &[u8]) -> Result<Self, NotProved> {
        if bytes.len() > MAX_RECEIPT_BYTES {
            return Err(broken("it is too large for a receipt"));
        }
        let receipt: Self = serde_json::from_slice(bytes).map_err(|error| broken(format_args!("not a receipt: {error}")))?;
        let version = if receipt.rosters.is_empty() { 1 } else { 2 };
        if receipt.v != version || receipt.entries.len() > MAX_ENTRIES {
            return Err(broken("not a receipt of version 1 without rosters, nor one of version 2 with them"));
        }
        Ok(receipt)
    }

    /// Checks everything that is in it against the ledger's key, and its rosters against the root keys. With root keys, a signature counts
    /// only under a roster that they signed. Without, rosters are those that the ledger says were in force.
    ///
    /// # Errors
    /// [`NotProved`] names the first thing that does not hold.
    pub fn verify(&self, keys: &[VerifierKey], roots: Option<&Roots>) -> Result<Proved, NotProved> {
        let id: AccessRequestId = self.access_request.parse().map_err(|_| broken("it names no access request"))?;
        let (mut steps, mut enrolled, mut applied, mut newest) = (Vec::new(), BTreeMap::new(), Vec::new(), (0, String::new()));
        for entry in &self.entries {
            let at = |what: &dyn fmt::Display| broken(format_args!("entry {}: {what}", entry.index));
            let proof = EntryProof::parse(entry.proof.as_bytes()).map_err(|error| at(&explain(&error)))?;
            let proved = proof.verify(keys).map_err(|error| at(&explain(&error)))?;
            let key = STANDARD.decode(&entry.key).ok().and_then(|key| key.try_into().ok()).ok_or_else(|| at(&"its key is none"))?;
            let body = StoredBody { index: entry.index, key, body: entry.body.clone() };
            if proved.entry.index != entry.index || !body.matches(&proved.entry.body) {
                return Err(at(&"what is shown is not what the ledger commits to"));
            }
            let body: Value = serde_json::from_str(&entry.body).map_err(|_| at(&"its body can't be read"))?;
            let checkpoint = &proved.checkpoint;
            if checkpoint.checkpoint.size > newest.0 {
                newest = (checkpoint.checkpoint.size, checkpoint.signed_by.clone());
            }
            let (index, version, kind, at) = (entry.index, proved.entry.version, proved.entry.kind.clone(), proved.entry.at_micros);
            let step = Step { index, version, kind, at, body };
            if proved.entry.stream == id.as_str() {
                steps.push(step);
            } else if proved.entry.stream == "directory" && step.kind == "key_enrolled" {
                enrol(&mut enrolled, &step);
            } else if proved.entry.stream == "policy" && step.kind == "roster_applied" {
                applied.push(apply(&step)?);
            } else {
                return Err(broken(format_args!("entry {index} belongs to `{}`, not to {id}", proved.entry.stream)));
            }
        }
        for (place, step) in (1_u64..).zip(&steps) {
            if step.version != place {
                return Err(broken(format_args!("step {place} of {id} is missing")));
            }
        }
        let story = Story::read(&id, &steps)?;
        let rosters = Rosters::check(&self.rosters, applied, &story.envelope.gateway, roots)?;
        let told = tell(&story, &steps, &Known { enrolled, rosters, rooted: roots.is_some() })?;
        Ok(Proved { entries: self.entries.len(), checkpoint: newest.0, signed_by: newest.1, ..told })
    }
}

fn enrol(enrolled: &mut BTreeMap<PrincipalName, Vec<(u64, Enrolled)>>, step: &Step) {
    let text = |name: &str| step.body.get(name).and_then(Value::as_str);
    let (Some(Ok(name)), Some(Ok(key))) = (text("name").map(str::parse), text("key").map(str::parse)) else { return };
    let since = Timestamp::from_micros(step.at);
    enrolled.entry(name).or_default().push((step.index, Enrolled { key, since }));
}

fn apply(step: &Step) -> Result<Applied, NotProved> {
    let epoch = step.body.get("epoch").and_then(Value::as_u64);
    let digest = step.body.get("digest").and_then(Value::as_str).and_then(|digest| digest.parse().ok());
    let (epoch, digest) = epoch.zip(digest).ok_or_else(|| broken(format_args!("entry {}: it names no roster", step.index)))?;
    Ok(Applied { index: step.index, epoch, digest })
}

/// What says whose key is whose.
struct Known {
    enrolled: BTreeMap<PrincipalName, Vec<(u64, Enrolled)>>,
    rosters: Rosters,
    /// Root keys were given: only what they signed says it.
    rooted: bool,
}

/// What was asked for last, who approved that, and what came of it.
struct Story<'a> {
    envelope: Envelope,
    approvals: Vec<&'a Step>,
    /// The last entry that did something on the authority of approvals.
    used: Option<u64>,
    outcome: Option<Value>,
}

impl<'a> Story<'a> {
    fn read(id: &AccessRequestId, steps: &'a [Step]) -> Result<Self, NotProved> {
        let mut envelope: Option<Envelope> = None;
        let mut approvals: Vec<&Step> = Vec::new();
        let (mut used, mut outcome) = (None, None);
        let giver = |step: &Step| step.body.pointer("/approval/approver").and_then(Value::as_str).map(ToOwned::to_owned);
        for step in steps {
            match step.kind.as_str() {
                "access_request_submitted" | "approvals_voided" => {
                    let of = step.body.get("envelope").cloned().unwrap_or_default();
                    envelope = Some(serde_json::from_value(of).map_err(|_| broken(format_args!("entry {}: no envelope", step.index)))?);
                    approvals.clear();
                }
                "approval_given" => approvals.push(step),
                "approval_lapsed" => {
                    let whose = step.body.get("approver").and_then(Value::as_str);
                    approvals.retain(|approval| giver(approval).as_deref() != whose);
                }
                "grant_given" | "action_claimed" | "extension_applied" => used = Some(step.index),
                "action_settled" => outcome = step.body.get("outcome").cloned(),
                _ => {}
            }
        }
        let envelope = envelope.ok_or_else(|| broken("it does not hold the asking"))?;
        if envelope.access_request != *id {
            return Err(broken(format_args!("the envelope is of {}", envelope.access_request)));
        }
        Ok(Self { envelope, approvals, used, outcome })
    }
}

/// What the steps say, from the asking on.
fn tell(story: &Story<'_>, steps: &[Step], known: &Known) -> Result<Proved, NotProved> {
    let envelope = &story.envelope;
    let digest = envelope.digest().map_err(|_| broken("the envelope has no canonical form"))?.to_string();
    let mut approvals: Vec<ProvedApproval> = Vec::new();
    for step in &story.approvals {
        let one = approval(envelope, &digest, step, known)?;
        let at = |what: &dyn fmt::Display| broken(format_args!("entry {}: {what}", step.index));
        if approvals.iter().any(|other| other.approver == one.approver) {
            return Err(at(&"one person counts once"));
        }
        if one.key.is_some() && approvals.iter().any(|other| other.key == one.key) {
            return Err(at(&"one key counts once"));
        }
        approvals.push(one);
    }
    let what = match &envelope.scope {
        safeconduct_model::Scope::Exact { action: safeconduct_model::Action::Sql(sql), .. } => sql.text.clone(),
        safeconduct_model::Scope::Exact { action: safeconduct_model::Action::Administration(change), .. } => change.to_string(),
        safeconduct_model::Scope::Window { operations, .. } => format!("{operations} for {}", envelope.duration),
    };
    let policy = approvals.iter().rev().find_map(|approval| approval.roster).and_then(|roster| {
        let signed = known.rosters.before(roster.entry.saturating_add(1))?.holds_policy(&envelope.policy);
        Some(ProvedPolicy { hash: envelope.policy.to_string(), roster, signed })
    });
    Ok(Proved {
        access_request: envelope.access_request.clone(),
        digest,
        requester: envelope.requester.clone(),
        resource: envelope.resource.to_string(),
        gateway: envelope.gateway.clone(),
        reason: envelope.asked.reason.to_string(),
        what,
        quorum: quorum(story, &approvals, &known.rosters),
        policy,
        approvals,
        rosters: known.rosters.proved.clone(),
        last: steps.last().map(|step| step.kind.clone()).unwrap_or_default(),
        outcome: story.outcome.clone(),
        entries: 0,
        checkpoint: 0,
        signed_by: String::new(),
    })
}

/// Counts, at the moment something came of it, the signatures whose keys the roster in force listed.
fn quorum(story: &Story<'_>, approvals: &[ProvedApproval], rosters: &Rosters) -> Option<ProvedQuorum> {
    let (quorum, used) = (story.envelope.quorum.as_ref()?, story.used?);
    let in_force = rosters.before(used)?;
    let mut counted = Vec::new();
    for (approval, step) in approvals.iter().zip(&story.approvals) {
        let Some(member) = in_force.member(&approval.approver) else { continue };
        let listed = in_force.keys_of(&approval.approver).iter().any(|enrolled| Some(enrolled.key.fingerprint()) == approval.key);
        if approval.roster.is_none() || !listed || step.index >= used {
            continue;
        }
        let recorded: BTreeSet<GroupName> =
            step.body.pointer("/approval/groups").cloned().and_then(|groups| serde_json::from_value(groups).ok()).unwrap_or_default();
        counted.push(Counted { approver: approval.approver.clone(), groups: &recorded & &member.groups });
    }
    let roster = OfRoster { epoch: in_force.applied.epoch, entry: in_force.applied.index };
    Some(ProvedQuorum { quorum: quorum.to_string(), roster, met: quorum.is_met_by(&counted) })
}

fn approval(envelope: &Envelope, digest: &str, step: &Step, known: &Known) -> Result<ProvedApproval, NotProved> {
    let at = |what: &dyn fmt::Display| broken(format_args!("entry {}: {what}", step.index));
    let text = |path: &str| step.body.pointer(path).and_then(Value::as_str);
    let approver: PrincipalName =
        text("/approval/approver").and_then(|name| name.parse().ok()).ok_or_else(|| at(&"an approval of nobody"))?;
    if text("/approval/digest") != Some(digest) {
        return Err(at(&"the approval is of another envelope"));
    }
    if approver == envelope.requester {
        return Err(at(&"nobody approves their own access request"));
    }
    let (Some(statement), Some(signature)) = (text("/approval/evidence/statement"), text("/approval/evidence/signature")) else {
        return Ok(ProvedApproval { approver, key: None, enrolled_in: None, roster: None, page: None, verified: false });
    };
    let read = Signature::from_armor(signature).map_err(|invalid| at(&invalid))?;
    let presence = read.verify(safeconduct_evidence::NAMESPACE, statement.as_bytes()).map_err(|invalid| at(&invalid))?;
    let page = presence.web.as_ref().map(|web| web.origin.clone());
    // Which pages are the gateway's own is not in a receipt: the page is told, and people compare.
    let site = Site { origins: page.iter().cloned().collect(), relying_party: read.key().application().unwrap_or_default().to_owned() };
    let named = step.body.pointer("/approval/evidence/roster").filter(|roster| !roster.is_null());
    let whose = known.keys_of(&approver, &read, named, step.index).map_err(|why| at(&why))?;
    let signed = SignedApproval { approver: &approver, statement, signature };
    let moment = Moment::Signing(Timestamp::from_micros(step.at));
    prove(envelope, Verdict::Approve, &signed, &whose.keys, Level::Signed, &site, moment).map_err(|unproved| at(&unproved))?;
    let Whose { enrolled_in, roster, .. } = whose;
    Ok(ProvedApproval { approver, key: Some(read.key().fingerprint()), enrolled_in, roster, page, verified: presence.verified })
}

/// The keys of somebody, and what says so of the one that signed.
struct Whose {
    keys: Vec<Enrolled>,
    enrolled_in: Option<u64>,
    roster: Option<OfRoster>,
}

impl Known {
    /// The keys of who signed, by the roster that the approval names or, if it names none, by the entries that enrolled them.
    fn keys_of(&self, approver: &PrincipalName, signature: &Signature, named: Option<&Value>, approval: u64) -> Result<Whose, NotProved> {
        let fingerprint = signature.key().fingerprint();
        let Some(named) = named else {
            if self.rooted {
                return Err(broken("the approval names no roster, so root keys say nothing about its key"));
            }
            let known = self.enrolled.get(approver).map(Vec::as_slice).unwrap_or_default();
            let this = known.iter().find(|(_, enrolled)| enrolled.key == *signature.key());
            let (entry, _) =
                this.ok_or_else(|| broken(format_args!("the receipt does not hold the enrolment of {approver}'s key {fingerprint}")))?;
            let keys = known.iter().map(|(_, enrolled)| enrolled.clone()).collect();
            return Ok(Whose { keys, enrolled_in: Some(*entry), roster: None });
        };
        let named: Digest =
            named.as_str().and_then(|digest| digest.parse().ok()).ok_or_else(|| broken("the approval names no roster that could be"))?;
        let in_force = self.rosters.before(approval).filter(|in_force| in_force.applied.digest == named);
        let in_force =
            in_force.ok_or_else(|| broken(format_args!("the receipt does not show the roster {named} to be in force at the approval")))?;
        let keys = in_force.keys_of(approver);
        let roster = OfRoster { epoch: in_force.applied.epoch, entry: in_force.applied.index };
        if !keys.iter().any(|enrolled| enrolled.key == *signature.key()) {
            return Err(broken(format_args!("{fingerprint} is no key of {approver} in the {roster}")));
        }
        Ok(Whose { keys, enrolled_in: None, roster: Some(roster) })
    }
}
