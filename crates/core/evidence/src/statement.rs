//! The statement that is signed: a verdict on one envelope, by one person, for a bounded time. Canonical JSON; one text per meaning.

use safeconduct_model::{AccessRequestId, Digest, Envelope, NotCanonical, PrincipalName, Timestamp, Words, canonical};
use serde::{Deserialize, Serialize};

/// The purpose that signatures under statements are made for. A signature for anything else is none for this.
pub const NAMESPACE: &str = "safeconduct-approval@v1";

/// How far the clock of whoever signs may be from ours, in seconds.
pub const CLOCK_TOLERANCE_SECONDS: i64 = 300;

/// Longest text of a statement, in bytes: a comment of full length in characters of four bytes, and room for the rest.
const LONGEST: usize = 16 << 10;

/// What an approver says about an access request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// Format version: 1.
    pub v: u32,
    /// Name of the gateway it is for.
    pub gateway: String,
    pub access_request: AccessRequestId,
    /// Digest of the envelope that was shown.
    pub envelope: Digest,
    pub verdict: Verdict,
    pub approver: PrincipalName,
    pub comment: Option<Words>,
    /// By the clock of whoever signed.
    pub signed_at: Timestamp,
    /// Nothing may be done on its authority at or after this moment.
    pub counts_until: Timestamp,
}

/// Yes or no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Approve,
    Deny,
}

/// A text that is no statement in canonical form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a statement in canonical form")]
pub struct InvalidStatement;

impl Statement {
    /// The statement about this envelope that counts as long as it can.
    ///
    /// # Errors
    /// [`NotCanonical`] never for envelopes made here.
    pub fn about(
        envelope: &Envelope,
        verdict: Verdict,
        approver: PrincipalName,
        comment: Option<Words>,
        now: Timestamp,
    ) -> Result<Self, NotCanonical> {
        Ok(Self {
            v: 1,
            gateway: envelope.gateway.clone(),
            access_request: envelope.access_request.clone(),
            envelope: envelope.digest()?,
            verdict,
            approver,
            comment,
            signed_at: now,
            counts_until: counts_at_most_until(envelope),
        })
    }

    /// The text that is signed.
    ///
    /// # Errors
    /// [`NotCanonical`] never for statements made here.
    pub fn to_text(&self) -> Result<String, NotCanonical> {
        String::from_utf8(canonical(self)?).map_err(|_| NotCanonical)
    }

    /// Reads a text that was signed.
    ///
    /// # Errors
    /// [`InvalidStatement`] for any text but the one its meaning has.
    pub fn read(text: &str) -> Result<Self, InvalidStatement> {
        if text.len() > LONGEST {
            return Err(InvalidStatement);
        }
        let read: Self = serde_json::from_str(text).map_err(|_| InvalidStatement)?;
        if read.v == 1 && read.to_text().is_ok_and(|own| own == text) { Ok(read) } else { Err(InvalidStatement) }
    }
}

/// The last moment at which anything can be done on the authority of this envelope: decided at the last moment, used to the end.
#[must_use]
pub fn counts_at_most_until(envelope: &Envelope) -> Timestamp {
    envelope.starts_at.unwrap_or_default().max(envelope.pending_until).after(envelope.duration)
}
