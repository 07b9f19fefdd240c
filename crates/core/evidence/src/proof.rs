//! Proof: does this signed statement count for this envelope at this moment?
//!
//! Everything is worked out from bytes: envelope, statement, signature and the keys that people have enrolled. The rules that no policy
//! can lift hold here too: never the requester, distinct people, distinct keys.

use std::collections::BTreeSet;

use safeconduct_model::{Envelope, Level, PrincipalName, Timestamp, UnfitText, Words};

use crate::{
    key::PublicKey,
    signature::{InvalidSignature, Presence, Signature},
    statement::{CLOCK_TOLERANCE_SECONDS, InvalidStatement, NAMESPACE, Statement, Verdict, counts_at_most_until},
};

/// A statement with its signature, as texts that were stored.
#[derive(Clone, Copy, Debug)]
pub struct SignedApproval<'a> {
    /// Who is said to have signed.
    pub approver: &'a PrincipalName,
    pub statement: &'a str,
    pub signature: &'a str,
}

/// A key somebody has enrolled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enrolled {
    pub key: PublicKey,
    /// A key counts for what was asked after it was enrolled.
    pub since: Timestamp,
}

/// Where people sign in a browser. Empty if they don't.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Site {
    /// Origins of our own pages, such as `https://gateway.example:8443`.
    pub origins: BTreeSet<String>,
    /// The domain that passkeys are bound to.
    pub relying_party: String,
}

/// When it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The approver is sending it: it was signed just before.
    Signing(Timestamp),
    /// Something is about to be done on its authority.
    Use(Timestamp),
}

/// A statement that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proved {
    pub statement: Statement,
    pub key: PublicKey,
    pub presence: Presence,
}

/// Why a signed statement does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unproved {
    #[error(transparent)]
    Statement(#[from] InvalidStatement),
    #[error(transparent)]
    Signature(#[from] InvalidSignature),
    #[error("it is about another access request, or about another form of this one")]
    OtherEnvelope,
    #[error("what it is about can't be shown as it is: {0}")]
    NotAsShown(#[from] UnfitText),
    #[error("it states another verdict")]
    OtherVerdict,
    #[error("it speaks for somebody else")]
    OtherApprover,
    #[error("nobody approves their own access request")]
    SelfApproval,
    #[error("the key is not enrolled for this person")]
    UnknownKey,
    #[error("the key was enrolled after the asking")]
    KeyTooNew,
    #[error("the clock of whoever signed differs from ours by more than five minutes, or the statement is old")]
    NotFresh,
    #[error("it counts no longer")]
    Over,
    #[error("the authenticator did not see its user")]
    NotPresent,
    #[error("the authenticator did not check who its user is")]
    NotVerified,
    #[error("the key is in a file; a passkey or security key is asked for")]
    NoAuthenticator,
    #[error("it was signed on another site's page")]
    ForeignOrigin,
    #[error("it was signed on a page framed by another site's")]
    CrossOrigin,
    #[error("the authenticator's key is for something else")]
    OtherApplication,
    #[error("one person counts once")]
    SamePerson,
    #[error("one key counts once")]
    SameKey,
}

/// Decides whether a verdict on this envelope, said to be this person's, counts at this moment. `keys` are those the person has enrolled.
///
/// # Errors
/// [`Unproved`] names the first rule that stands against it.
pub fn prove(
    envelope: &Envelope,
    verdict: Verdict,
    signed: &SignedApproval<'_>,
    keys: &[Enrolled],
    level: Level,
    site: &Site,
    moment: Moment,
) -> Result<Proved, Unproved> {
    let statement = Statement::read(signed.statement)?;
    let signature = Signature::from_armor(signed.signature)?;
    let own = envelope.digest().is_ok_and(|digest| digest == statement.envelope);
    if !own || statement.access_request != envelope.access_request || statement.gateway != envelope.gateway {
        return Err(Unproved::OtherEnvelope);
    }
    envelope.check_shown()?;
    statement.comment.as_ref().map_or(Ok(()), Words::check_lookalikes)?;
    if statement.verdict != verdict {
        return Err(Unproved::OtherVerdict);
    }
    if statement.approver != *signed.approver {
        return Err(Unproved::OtherApprover);
    }
    if statement.approver == envelope.requester {
        return Err(Unproved::SelfApproval);
    }
    let key = keys.iter().find(|enrolled| enrolled.key == *signature.key()).ok_or(Unproved::UnknownKey)?;
    if key.since > envelope.asked_at {
        return Err(Unproved::KeyTooNew);
    }
    let (Moment::Signing(now) | Moment::Use(now)) = moment;
    let apart = statement.signed_at.micros().saturating_sub(now.micros());
    let tolerated = CLOCK_TOLERANCE_SECONDS * 1_000_000;
    if apart > tolerated || (matches!(moment, Moment::Signing(_)) && apart < -tolerated) {
        return Err(Unproved::NotFresh);
    }
    // A statement may count for less time than its envelope gives, never for more.
    if now >= statement.counts_until.min(counts_at_most_until(envelope)) {
        return Err(Unproved::Over);
    }
    let presence = signature.verify(NAMESPACE, signed.statement.as_bytes())?;
    check_presence(&presence, &key.key, level, site)?;
    Ok(Proved { statement, key: key.key.clone(), presence })
}

/// Decides which approvals of an envelope count together for use at `now`; those that don't are left out, each with its reason.
/// `keys_of` gives the keys somebody has enrolled: none if that person no longer may approve.
///
/// However late the record says that the right began, it is over once the last of them was signed longer ago than it lasts.
pub fn prove_all<'a>(
    envelope: &Envelope,
    approvals: impl IntoIterator<Item = SignedApproval<'a>>,
    keys_of: impl Fn(&PrincipalName) -> Vec<Enrolled>,
    level: Level,
    site: &Site,
    now: Timestamp,
) -> (Vec<Proved>, Vec<(PrincipalName, Unproved)>) {
    let mut proved: Vec<Proved> = Vec::new();
    let mut left_out = Vec::new();
    for approval in approvals {
        let one =
            prove(envelope, Verdict::Approve, &approval, &keys_of(approval.approver), level, site, Moment::Use(now)).and_then(|one| {
                if proved.iter().any(|other| other.statement.approver == one.statement.approver) {
                    Err(Unproved::SamePerson)
                } else if proved.iter().any(|other| other.key == one.key) {
                    Err(Unproved::SameKey)
                } else {
                    Ok(one)
                }
            });
        match one {
            Ok(one) => proved.push(one),
            Err(why) => left_out.push((approval.approver.clone(), why)),
        }
    }
    let last = proved.iter().map(|one| one.statement.signed_at).max().unwrap_or_default();
    let end = envelope.starts_at.unwrap_or_default().max(last).after(envelope.duration).plus_seconds(CLOCK_TOLERANCE_SECONDS);
    if now >= end {
        left_out.extend(proved.drain(..).map(|one| (one.statement.approver, Unproved::Over)));
    }
    (proved, left_out)
}

/// Decides whether who made a signature was where and how this level asks for: present, on a page of ours, checked by the authenticator.
///
/// # Errors
/// [`Unproved`] names what is missing.
pub fn check_presence(presence: &Presence, key: &PublicKey, level: Level, site: &Site) -> Result<(), Unproved> {
    if let Some(web) = &presence.web {
        if !site.origins.contains(&web.origin) {
            return Err(Unproved::ForeignOrigin);
        }
        if web.cross_origin {
            return Err(Unproved::CrossOrigin);
        }
        if key.application() != Some(site.relying_party.as_str()) {
            return Err(Unproved::OtherApplication);
        }
    } else if key.application().is_some_and(|application| !application.starts_with("ssh:")) {
        // A passkey of a page never signs without its page.
        return Err(Unproved::OtherApplication);
    }
    // Presence is asked of every authenticator, at every level: without it, malware signs unseen.
    if presence.present == Some(false) {
        return Err(Unproved::NotPresent);
    }
    if level < Level::Passkey {
        return Ok(());
    }
    match presence.present {
        None => Err(Unproved::NoAuthenticator),
        Some(_) if !presence.verified => Err(Unproved::NotVerified),
        Some(_) => Ok(()),
    }
}
