//! When a sign-in or token was used last, and from where; and the end of sign-ins of people that nobody uses.
//!
//! A use is noted in memory and written at most once a minute for each sign-in, beside it and never in it: what is written late makes no
//! sign-in that ended. A crash forgets the last minute.

use std::collections::{BTreeMap, HashMap};

use safeconduct_lifecycle::Actor;
use safeconduct_model::{PrincipalKind, PrincipalName, SignInId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    identity::{SignIn, SignIns, seconds},
    node::App,
    ports::{Store, ValueChange},
    problem::Problem,
};

/// Kind of stored values: last uses by the id of their sign-in.
pub(crate) const USES: &str = "sign-in-use";
/// A use that is written is not written again for this long, in seconds.
const WRITTEN_EVERY_SECONDS: i64 = 60;
/// A use from the same place is not noted again for this long, in seconds.
const NOTED_EVERY_SECONDS: i64 = 1;
/// What ends sign-ins that nobody uses, as the ledger names it.
const CAUSE: &str = "idle";

/// A use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LastUse {
    pub at: Timestamp,
    pub source: String,
}

/// The last use of a sign-in, and whether that is written.
#[derive(Clone, Debug, Default)]
pub(crate) struct Used {
    pub last: Option<LastUse>,
    pub written_at: Option<Timestamp>,
}

impl Used {
    fn is_new(&self, source: &str, now: Timestamp) -> bool {
        self.last.as_ref().is_none_or(|last| now >= last.at.plus_seconds(NOTED_EVERY_SECONDS) || last.source != source)
    }

    fn note(&mut self, source: &str, now: Timestamp) {
        self.last = Some(LastUse { at: now, source: source.to_owned() });
    }

    /// What is not written yet, if it is time to.
    fn unwritten(&self, all: bool) -> Option<&LastUse> {
        let last = self.last.as_ref()?;
        let due = self.written_at.is_none_or(|at| last.at > at && (all || last.at >= at.plus_seconds(WRITTEN_EVERY_SECONDS)));
        due.then_some(last)
    }
}

/// The uses that are stored. Those of sign-ins that are gone are removed.
pub(crate) async fn read_uses(store: &dyn Store, sign_ins: &mut HashMap<String, SignIn>) -> Result<(), Problem> {
    let mut uses: HashMap<String, Vec<u8>> = store.values(USES).await?.into_iter().collect();
    for sign_in in sign_ins.values_mut() {
        let stored = uses.remove(sign_in.sign_in.as_str());
        let last: Option<LastUse> = stored.and_then(|value| serde_json::from_slice(&value).ok());
        sign_in.used = Used { written_at: last.as_ref().map(|last| last.at), last };
    }
    let gone = uses.into_keys().map(|key| ValueChange { kind: USES.to_owned(), key, value: None }).collect();
    Ok(store.put_values(gone).await?)
}

impl SignIns {
    /// Notes that this sign-in is in use.
    pub fn note_use(&self, digest: &str, source: &str, now: Timestamp) {
        let is_new = self.by_digest.read().get(digest).is_some_and(|s| s.used.is_new(source, now));
        if is_new && let Some(sign_in) = self.by_digest.write().get_mut(digest) {
            sign_in.used.note(source, now);
        }
    }

    /// The same by its id.
    pub fn note_use_of(&self, sign_in: &SignInId, source: &str, now: Timestamp) {
        let mut all = self.by_digest.write();
        if let Some(found) = all.values_mut().find(|s| s.sign_in == *sign_in) {
            found.used.note(source, now);
        }
    }
}

impl App {
    /// True if this sign-in of a person has not been used for so long that it is over.
    pub(crate) fn is_idle(&self, sign_in: &SignIn, kind: PrincipalKind, now: Timestamp) -> bool {
        let last = sign_in.used.last.as_ref().map_or(sign_in.created_at, |last| last.at);
        kind == PrincipalKind::Person && last.plus_seconds(seconds(self.node.settings.sign_in_idle)) <= now
    }

    /// Ends the sign-ins of people that nobody uses, with their door secrets. Sessions and grants go on.
    pub(crate) async fn end_idle(&self) -> Result<(), Problem> {
        let (world, now) = (self.world(), self.now());
        let mut idle: BTreeMap<PrincipalName, Vec<SignInId>> = BTreeMap::new();
        // What is over by its time is not said to have ended by anything else.
        for sign_in in self.node.sign_ins.by_digest.read().values().filter(|s| s.expires_at > now) {
            let kind = world.directory.find(&sign_in.name).map(|principal| principal.kind);
            if kind.is_some_and(|kind| self.is_idle(sign_in, kind, now)) {
                idle.entry(sign_in.name.clone()).or_default().push(sign_in.sign_in.clone());
            }
        }
        for (name, sign_ins) in idle {
            self.end_sign_ins(&name, &sign_ins, Actor::Gateway { cause: CAUSE.to_owned() }).await?;
        }
        Ok(())
    }

    /// Writes the uses that are due; all that are not written if the gateway is about to stop.
    pub(crate) async fn write_uses(&self, all: bool) {
        let due: Vec<(SignInId, LastUse)> = {
            let sign_ins = self.node.sign_ins.by_digest.read();
            sign_ins.values().filter_map(|s| Some((s.sign_in.clone(), s.used.unwritten(all)?.clone()))).collect()
        };
        let change = |(sign_in, last): &(SignInId, LastUse)| {
            let value = serde_json::to_vec(last).ok()?;
            Some(ValueChange { kind: USES.to_owned(), key: sign_in.to_string(), value: Some(value) })
        };
        let changes: Vec<ValueChange> = due.iter().filter_map(change).collect();
        if changes.is_empty() {
            return;
        }
        if let Err(error) = self.node.ports.store.put_values(changes).await {
            tracing::warn!(%error, "last uses of sign-ins are written later");
            return;
        }
        let written: HashMap<&SignInId, Timestamp> = due.iter().map(|(sign_in, last)| (sign_in, last.at)).collect();
        for sign_in in self.node.sign_ins.by_digest.write().values_mut() {
            if let Some(at) = written.get(&sign_in.sign_in) {
                sign_in.used.written_at = Some(*at);
            }
        }
    }
}
