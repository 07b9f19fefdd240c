//! The roster: whose keys and groups count, and which policies, signed by those who hold the root keys. Canonical JSON; one text per meaning.

use std::collections::{BTreeMap, BTreeSet};

use safeconduct_model::{Digest, GroupName, NotCanonical, PrincipalName, canonical};
use serde::{Deserialize, Serialize};

use crate::{key::PublicKey, signature::Signature};

/// The purpose that signatures under rosters are made for.
pub const ROSTER_NAMESPACE: &str = "safeconduct-roster@v1";
/// Longest text of a roster, in bytes.
const LONGEST: usize = 16 << 20;
/// Most signatures that are looked at.
const MOST_SIGNATURES: usize = 64;

/// Who counts as what for approvals that are signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Roster {
    /// Format version: 1.
    pub v: u32,
    /// Name of the gateway it is for.
    pub gateway: String,
    /// Higher than that of every roster before it.
    pub epoch: u64,
    /// Hashes of the bundles that may be in force.
    pub policies: BTreeSet<Digest>,
    pub people: BTreeMap<PrincipalName, Member>,
}

/// One person of a roster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    pub groups: BTreeSet<GroupName>,
    /// Lines as OpenSSH writes them, without comments.
    pub keys: BTreeSet<String>,
    /// Whom the person answers to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manager: Option<PrincipalName>,
}

/// Who signs rosters: so many of these keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roots {
    pub keys: Vec<PublicKey>,
    pub needed: usize,
}

/// Why a roster is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRoster {
    #[error("not a roster in canonical form")]
    Form,
    #[error("it is for the gateway `{0}`")]
    OtherGateway(String),
    #[error("the key {0} is in it twice")]
    SharedKey(String),
    #[error("a key of `{0}` is none that can sign")]
    Key(PrincipalName),
    #[error("{valid} of the root keys signed it, {needed} must")]
    Signatures { valid: usize, needed: usize },
    #[error("its epoch is {epoch}, and {highest} was in force already")]
    Rollback { epoch: u64, highest: u64 },
}

impl Roster {
    /// The text that is signed.
    ///
    /// # Errors
    /// [`NotCanonical`] never for rosters made here.
    pub fn to_text(&self) -> Result<String, NotCanonical> {
        String::from_utf8(canonical(self)?).map_err(|_| NotCanonical)
    }

    /// Reads a roster for this gateway that enough of the roots signed. `signatures` is one armored signature after another; those that
    /// are not by a root, or not of this text, count for nothing.
    ///
    /// # Errors
    /// [`InvalidRoster`] names the first rule that stands against it.
    pub fn prove(text: &str, signatures: &str, roots: &Roots, gateway: &str, highest_epoch: u64) -> Result<Self, InvalidRoster> {
        let valid = signers(text, signatures, roots);
        // None at all is never enough, whatever is asked for.
        if valid < roots.needed.max(1) {
            return Err(InvalidRoster::Signatures { valid, needed: roots.needed.max(1) });
        }
        let read: Self = serde_json::from_str(text).map_err(|_| InvalidRoster::Form)?;
        if read.v != 1 || read.to_text().map_or(true, |own| own != text) {
            return Err(InvalidRoster::Form);
        }
        if read.gateway != gateway {
            return Err(InvalidRoster::OtherGateway(read.gateway));
        }
        if read.epoch < highest_epoch {
            return Err(InvalidRoster::Rollback { epoch: read.epoch, highest: highest_epoch });
        }
        let mut seen = BTreeSet::new();
        for (name, member) in &read.people {
            for line in &member.keys {
                let key: PublicKey = line.parse().map_err(|_| InvalidRoster::Key(name.clone()))?;
                if key.to_string() != *line {
                    return Err(InvalidRoster::Key(name.clone()));
                }
                if !seen.insert(line) {
                    return Err(InvalidRoster::SharedKey(key.fingerprint()));
                }
            }
        }
        Ok(read)
    }
}

/// How many of the roots signed this text.
fn signers(text: &str, signatures: &str, roots: &Roots) -> usize {
    const END: &str = "-----END SSH SIGNATURE-----";
    if text.len() > LONGEST {
        return 0;
    }
    let mut signed: Vec<&PublicKey> = Vec::new();
    for block in signatures.split_inclusive(END).take(MOST_SIGNATURES) {
        let Ok(signature) = Signature::from_armor(block.trim_start()) else { continue };
        let root = roots.keys.iter().find(|root| *root == signature.key());
        let holds = |presence: crate::Presence| presence.web.is_none() && presence.present != Some(false);
        if let Some(root) = root
            && !signed.contains(&root)
            && signature.verify(ROSTER_NAMESPACE, text.as_bytes()).is_ok_and(holds)
        {
            signed.push(root);
        }
    }
    signed.len()
}
