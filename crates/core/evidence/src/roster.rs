//! The roster: whose keys and groups count, and which policies, signed by those who hold the root keys. Canonical JSON; one text per meaning.

use std::collections::{BTreeMap, BTreeSet};

use safeconduct_model::{Digest, GroupName, NotCanonical, PrincipalName, canonical};
use serde::{Deserialize, Serialize};

use crate::{
    key::{InvalidKey, PublicKey},
    signature::Signature,
};

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

/// Why a text names no root keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRoots {
    #[error(transparent)]
    Key(#[from] InvalidKey),
    #[error("a key is in it twice")]
    Twice,
    #[error("{needed} of {keys} root keys can't sign")]
    Needed { needed: usize, keys: usize },
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

impl Roots {
    /// Reads root keys, one line of a `.pub` file each; empty lines and those that begin with `#` are passed over. More than half of them
    /// must sign if `needed` does not say how many.
    ///
    /// # Errors
    /// [`InvalidRoots`] for a line that is no key, a key twice, and a number that is none of these keys'.
    pub fn read(text: &str, needed: Option<usize>) -> Result<Self, InvalidRoots> {
        let mut keys: Vec<PublicKey> = Vec::new();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let key = line.parse()?;
            if keys.contains(&key) {
                return Err(InvalidRoots::Twice);
            }
            keys.push(key);
        }
        let needed = needed.unwrap_or(keys.len() / 2 + 1);
        if !(1..=keys.len()).contains(&needed) {
            return Err(InvalidRoots::Needed { needed, keys: keys.len() });
        }
        Ok(Self { keys, needed })
    }
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
        let valid = Self::signers(text, signatures).iter().filter(|key| roots.keys.contains(key)).count();
        // None at all is never enough, whatever is asked for.
        if valid < roots.needed.max(1) {
            return Err(InvalidRoster::Signatures { valid, needed: roots.needed.max(1) });
        }
        let read = Self::read(text, gateway)?;
        if read.epoch < highest_epoch {
            return Err(InvalidRoster::Rollback { epoch: read.epoch, highest: highest_epoch });
        }
        Ok(read)
    }

    /// Reads a roster for this gateway, whoever signed it: for who knows by other means that it counts, or says that it is not known.
    ///
    /// # Errors
    /// [`InvalidRoster`] for another form, another gateway, and keys that are none or in it twice.
    pub fn read(text: &str, gateway: &str) -> Result<Self, InvalidRoster> {
        if text.len() > LONGEST {
            return Err(InvalidRoster::Form);
        }
        let read: Self = serde_json::from_str(text).map_err(|_| InvalidRoster::Form)?;
        if read.v != 1 || read.to_text().map_or(true, |own| own != text) {
            return Err(InvalidRoster::Form);
        }
        if read.gateway != gateway {
            return Err(InvalidRoster::OtherGateway(read.gateway));
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

    /// The distinct keys whose signatures under this text hold, in their order. Says nothing about whose keys they are.
    #[must_use]
    pub fn signers(text: &str, signatures: &str) -> Vec<PublicKey> {
        const END: &str = "-----END SSH SIGNATURE-----";
        let mut signed: Vec<PublicKey> = Vec::new();
        if text.len() > LONGEST {
            return signed;
        }
        let holds = |presence: crate::Presence| presence.web.is_none() && presence.present != Some(false);
        for block in signatures.split_inclusive(END).take(MOST_SIGNATURES) {
            let Ok(signature) = Signature::from_armor(block.trim_start()) else { continue };
            if !signed.contains(signature.key()) && signature.verify(ROSTER_NAMESPACE, text.as_bytes()).is_ok_and(holds) {
                signed.push(signature.key().clone());
            }
        }
        signed
    }
}
