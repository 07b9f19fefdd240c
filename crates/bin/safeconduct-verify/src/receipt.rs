//! Receipts: one access request from its asking to its end, each step proved to be in the ledger and each signature checked.
//!
//! Decides what a receipt proves by itself. Believes nothing that no proof, commitment or signature leads to, and says what it can't know:
//! that a signature was asked for, and that nothing followed the last step it holds.

use std::{collections::BTreeMap, fmt};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use safeconduct_evidence::{Enrolled, Moment, Signature, SignedApproval, Site, Verdict, prove};
use safeconduct_ledger::{EntryProof, StoredBody, VerifierKey, explain};
use safeconduct_model::{AccessRequestId, Envelope, Level, PrincipalName, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::printable;

/// Largest receipt that is read, in bytes.
pub const MAX_RECEIPT_BYTES: usize = 64 << 20;
/// Most steps of one receipt.
const MAX_ENTRIES: usize = 10_000;

/// A receipt as it is written down: docs/specs/receipt.md.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// 1.
    pub v: u32,
    pub access_request: String,
    /// Every step of the access request in order, after the enrolments of the keys that signed.
    pub entries: Vec<ReceiptEntry>,
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
    /// The entry that enrolled the key.
    pub enrolled_in: Option<u64>,
    /// The page it was signed on.
    pub page: Option<String>,
    /// The authenticator checked who its user is.
    pub verified: bool,
}

/// Why a receipt proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotProved(String);

fn broken(what: impl fmt::Display) -> NotProved {
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
            match (&approval.key, approval.enrolled_in) {
                (Some(key), Some(entry)) => write!(f, ", signed with {key}, enrolled in entry {entry}")?,
                _ => write!(f, ": the gateway's record alone, no signature")?,
            }
            if let Some(page) = &approval.page {
                write!(f, ", on the page of {}", printable(page))?;
            }
            writeln!(f, "{}", if approval.verified { ", its user checked" } else { "" })?;
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
        if receipt.v != 1 || receipt.entries.len() > MAX_ENTRIES {
            return Err(broken("not a receipt of version 1"));
        }
        Ok(receipt)
    }

    /// Checks everything that is in it against the ledger's key.
    ///
    /// # Errors
    /// [`NotProved`] names the first thing that does not hold.
    pub fn verify(&self, keys: &[VerifierKey]) -> Result<Proved, NotProved> {
        let id: AccessRequestId = self.access_request.parse().map_err(|_| broken("it names no access request"))?;
        let (mut steps, mut enrolled, mut newest) = (Vec::new(), BTreeMap::new(), (0, String::new()));
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
            } else {
                return Err(broken(format_args!("entry {index} belongs to `{}`, not to {id}", proved.entry.stream)));
            }
        }
        for (place, step) in (1_u64..).zip(&steps) {
            if step.version != place {
                return Err(broken(format_args!("step {place} of {id} is missing")));
            }
        }
        let told = tell(&id, &steps, &enrolled)?;
        Ok(Proved { entries: self.entries.len(), checkpoint: newest.0, signed_by: newest.1, ..told })
    }
}

fn enrol(enrolled: &mut BTreeMap<PrincipalName, Vec<(u64, Enrolled)>>, step: &Step) {
    let text = |name: &str| step.body.get(name).and_then(Value::as_str);
    let (Some(Ok(name)), Some(Ok(key))) = (text("name").map(str::parse), text("key").map(str::parse)) else { return };
    let since = Timestamp::from_micros(step.at);
    enrolled.entry(name).or_default().push((step.index, Enrolled { key, since }));
}

/// What the steps say, from the asking on.
fn tell(id: &AccessRequestId, steps: &[Step], enrolled: &BTreeMap<PrincipalName, Vec<(u64, Enrolled)>>) -> Result<Proved, NotProved> {
    let mut envelope: Option<Envelope> = None;
    let mut approvals: Vec<&Step> = Vec::new();
    let mut outcome = None;
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
            "action_settled" => outcome = step.body.get("outcome").cloned(),
            _ => {}
        }
    }
    let envelope = envelope.ok_or_else(|| broken("it does not hold the asking"))?;
    if envelope.access_request != *id {
        return Err(broken(format_args!("the envelope is of {}", envelope.access_request)));
    }
    let digest = envelope.digest().map_err(|_| broken("the envelope has no canonical form"))?.to_string();
    let mut proved = Vec::new();
    for step in approvals {
        proved.push(approval(&envelope, &digest, step, enrolled)?);
    }
    let what = match &envelope.scope {
        safeconduct_model::Scope::Exact { action: safeconduct_model::Action::Sql(sql), .. } => sql.text.clone(),
        safeconduct_model::Scope::Exact { action: safeconduct_model::Action::Administration(change), .. } => change.to_string(),
        safeconduct_model::Scope::Window { operations, .. } => format!("{operations} for {}", envelope.duration),
    };
    Ok(Proved {
        access_request: id.clone(),
        digest,
        requester: envelope.requester.clone(),
        resource: envelope.resource.to_string(),
        gateway: envelope.gateway.clone(),
        reason: envelope.asked.reason.to_string(),
        what,
        approvals: proved,
        last: steps.last().map(|step| step.kind.clone()).unwrap_or_default(),
        outcome,
        entries: 0,
        checkpoint: 0,
        signed_by: String::new(),
    })
}

fn approval(
    envelope: &Envelope,
    digest: &str,
    step: &Step,
    enrolled: &BTreeMap<PrincipalName, Vec<(u64, Enrolled)>>,
) -> Result<ProvedApproval, NotProved> {
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
        return Ok(ProvedApproval { approver, key: None, enrolled_in: None, page: None, verified: false });
    };
    let read = Signature::from_armor(signature).map_err(|invalid| at(&invalid))?;
    let presence = read.verify(safeconduct_evidence::NAMESPACE, statement.as_bytes()).map_err(|invalid| at(&invalid))?;
    let page = presence.web.as_ref().map(|web| web.origin.clone());
    // Which pages are the gateway's own is not in a receipt: the page is told, and people compare.
    let site = Site { origins: page.iter().cloned().collect(), relying_party: read.key().application().unwrap_or_default().to_owned() };
    let known = enrolled.get(&approver).map(Vec::as_slice).unwrap_or_default();
    let enrolled_in = known.iter().find(|(_, enrolled)| enrolled.key == *read.key()).map(|(index, _)| *index);
    let Some(enrolled_in) = enrolled_in else {
        return Err(at(&format_args!("the receipt does not hold the enrolment of {}'s key {}", approver, read.key().fingerprint())));
    };
    let keys: Vec<Enrolled> = known.iter().map(|(_, enrolled)| enrolled.clone()).collect();
    let signed = SignedApproval { approver: &approver, statement, signature };
    let moment = Moment::Signing(Timestamp::from_micros(step.at));
    prove(envelope, Verdict::Approve, &signed, &keys, Level::Signed, &site, moment).map_err(|unproved| at(&unproved))?;
    Ok(ProvedApproval { approver, key: Some(read.key().fingerprint()), enrolled_in: Some(enrolled_in), page, verified: presence.verified })
}
