//! The session's settings, as far as they are part of an action: what differs from how the session began without the client's wishes.
//!
//! The server reports some of them; those are as it says. For the others what SET said counts once it surely took effect. A setting under which
//! texts say something else, and whose value is not sure, makes every action one that can't be shown: see
//! [`super::NotExact::UncertainSetting`].

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, OnceLock},
};

use safeconduct_sql::{
    SETTINGS_TO_BIND,
    facts::{StatementFacts, StatementKind},
};

/// Settings without influence on what a statement means or how it answers, and those that end with their transaction.
const WITHOUT_MEANING: [&str; 16] = [
    "application_name",
    "client_min_messages",
    "extra_float_digits",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
    "lc_messages",
    "lock_timeout",
    "log_duration",
    "seed",
    "statement_timeout",
    "synchronize_seqscans",
    "transaction",
    "transaction_deferrable",
    "transaction_isolation",
    "transaction_read_only",
    "transaction_timeout",
];

/// What servers of all supported versions report by themselves, before they are ready.
const REPORTED: [&str; 4] = ["datestyle", "intervalstyle", "session_authorization", "timezone"];

/// Most settings that are part of an action, and most that were set and not yet confirmed.
const MAX_SETTINGS: usize = 256;

#[derive(Debug)]
pub(super) struct Settings {
    /// What goes without saying.
    pinned: BTreeMap<String, String>,
    /// What RESET goes back to.
    initial: BTreeMap<String, String>,
    now: BTreeMap<String, String>,
    /// Set by statements that no ReadyForQuery has confirmed.
    sent: Vec<Sent>,
    uncertain: BTreeSet<String>,
    too_many: bool,
    /// What an action is shown with, until something changes it.
    shown: OnceLock<Arc<BTreeMap<String, String>>>,
}

#[derive(Debug)]
struct Sent {
    statement: u64,
    name: String,
    /// `None`: as it was at the start, which nobody told.
    value: Option<String>,
    /// It stays if the statement and its implicit transaction do.
    lasting: bool,
}

impl Settings {
    pub(super) fn new(pinned: BTreeMap<String, String>, wished: &BTreeMap<String, String>) -> Self {
        let wished = wished.iter().filter(|(name, _)| has_meaning(name) && !is_reported(name));
        let wished: Vec<_> = wished.map(|(name, value)| (name.clone(), value.clone())).collect();
        let mut initial = pinned.clone();
        initial.extend(wished);
        Self {
            now: initial.clone(),
            initial,
            pinned,
            sent: Vec::new(),
            uncertain: BTreeSet::new(),
            too_many: false,
            shown: OnceLock::new(),
        }
    }

    /// The server says how a setting is.
    pub(super) fn reported(&mut self, name: String, value: &str) {
        self.shown = OnceLock::new();
        self.initial.entry(name.clone()).or_insert_with(|| value.to_owned());
        self.now.insert(name, value.to_owned());
    }

    /// A statement is about to run. `alone`: nothing ran before it in the same transaction.
    pub(super) fn sent(&mut self, statement: u64, statements: &[StatementFacts], alone: bool) {
        for found in statements {
            let (name, value, local) = match &found.kind {
                StatementKind::Set { name, value, local } => (name.as_str(), value, *local),
                StatementKind::Discard { all: true, .. } => ("all", &None, false),
                StatementKind::Begin { .. }
                | StatementKind::Commit { .. }
                | StatementKind::Rollback { .. }
                | StatementKind::RollbackTo { .. }
                | StatementKind::Savepoint { .. } => {
                    // What was set just before may be undone by it.
                    self.sent.iter_mut().for_each(|sent| sent.lasting = false);
                    continue;
                }
                _ => continue,
            };
            let lasting = alone && !local && statements.len() == 1;
            if name == "all" {
                self.sent_all(statement, lasting);
                continue;
            }
            if !has_meaning(name) {
                continue;
            }
            // More settings than anybody could look at: nothing is exact any more.
            if self.sent.len() + self.now.len() >= MAX_SETTINGS {
                self.too_many = true;
                return;
            }
            let value = value.clone().or_else(|| self.initial.get(name).cloned());
            self.shown = OnceLock::new();
            self.sent.push(Sent { statement, name: name.to_owned(), value, lasting });
        }
    }

    /// RESET ALL or DISCARD ALL is about to run: everything goes back to how the session began.
    fn sent_all(&mut self, statement: u64, lasting: bool) {
        let touched = self.now.keys().chain(self.sent.iter().map(|sent| &sent.name)).chain(&self.uncertain);
        let touched: BTreeSet<String> = touched.cloned().collect();
        self.shown = OnceLock::new();
        self.sent.extend(touched.into_iter().map(|name| Sent { statement, value: self.initial.get(&name).cloned(), name, lasting }));
    }

    /// The server is ready: every statement up to this one is over. `failed`: one of them failed. `idle`: no transaction is open.
    pub(super) fn confirmed(&mut self, through: u64, failed: bool, idle: bool) {
        let over = self.sent.iter().take_while(|sent| sent.statement <= through).count();
        if over > 0 {
            self.shown = OnceLock::new();
        }
        for Sent { name, value, lasting, .. } in self.sent.drain(..over) {
            if is_reported(&name) {
                continue;
            }
            if lasting && idle && !failed {
                self.uncertain.remove(&name);
            } else if SETTINGS_TO_BIND.contains(&name.as_str()) {
                self.uncertain.insert(name.clone());
            }
            match value {
                Some(value) => self.now.insert(name, value),
                None => self.now.remove(&name),
            };
        }
    }

    /// What an action is to be shown with.
    pub(super) fn of_action(&self) -> Arc<BTreeMap<String, String>> {
        Arc::clone(self.shown.get_or_init(|| Arc::new(self.differing())))
    }

    fn differing(&self) -> BTreeMap<String, String> {
        let differs = |name: &String, value: &String| self.pinned.get(name) != Some(value);
        let now = self.now.iter().filter(|(name, value)| differs(name, value));
        let mut now: BTreeMap<_, _> = now.map(|(name, value)| (name.clone(), value.clone())).collect();
        for Sent { name, value, .. } in &self.sent {
            match value {
                Some(value) if differs(name, value) => now.insert(name.clone(), value.clone()),
                _ => now.remove(name),
            };
        }
        now
    }

    /// True if what an action means can't be told for sure.
    pub(super) fn is_uncertain(&self) -> bool {
        let undone = |sent: &Sent| !sent.lasting && !is_reported(&sent.name) && SETTINGS_TO_BIND.contains(&sent.name.as_str());
        self.too_many || !self.uncertain.is_empty() || self.sent.iter().any(undone)
    }
}

fn has_meaning(name: &str) -> bool {
    !WITHOUT_MEANING.contains(&name)
}

fn is_reported(name: &str) -> bool {
    REPORTED.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statements(text: &str) -> Vec<StatementFacts> {
        safeconduct_sql::facts(text, &safeconduct_sql::FunctionClasses::default()).statements
    }

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    /// Runs the texts one by one in one transaction that ends well, and says what is shown then; nothing if that is not sure.
    fn after(texts: &[&str]) -> Option<BTreeMap<String, String>> {
        let pinned = map(&[("datestyle", "ISO, MDY"), ("timezone", "UTC")]);
        let mut settings = Settings::new(pinned, &map(&[("xmloption", "document"), ("statement_timeout", "1s"), ("intervalstyle", "x")]));
        settings.reported("intervalstyle".to_owned(), "iso_8601");
        for (place, text) in texts.iter().enumerate() {
            settings.sent(place as u64 + 1, &statements(text), place == 0);
        }
        settings.confirmed(texts.len() as u64, false, true);
        (!settings.is_uncertain()).then(|| settings.differing())
    }

    #[test]
    fn f35_wishes_and_later_settings_are_shown_and_reset_goes_back_to_the_wish() {
        let wished = [("intervalstyle", "iso_8601"), ("xmloption", "document")];
        let with = |more: &[(&str, &str)]| Some(map(&[&wished[..], more].concat()));
        assert_eq!(after(&[]), with(&[]));
        assert_eq!(after(&["set lc_time to 'C'"]), with(&[("lc_time", "C")]));
        assert_eq!(after(&["set bytea_output to escape"]), with(&[("bytea_output", "escape")]));
        assert_eq!(after(&["set transaction isolation level serializable"]), with(&[]));
        assert_eq!(after(&["reset xmloption"]), with(&[]));
        // What the server reports is believed, not what was sent.
        assert_eq!(after(&["set datestyle to dmy"]), with(&[]));
    }

    #[test]
    fn f35_what_may_have_been_undone_is_uncertain() {
        for texts in [
            &["set local lc_time to 'C'"][..],
            &["begin", "set lc_time to 'C'", "rollback"],
            &["set lc_time to 'C'", "rollback"],
            &["begin; set lc_time to 'C'; rollback"],
            &["select 1", "set lc_time to 'C'"],
        ] {
            assert_eq!(after(texts), None, "{texts:?}");
        }
    }

    #[test]
    fn f35_everything_reset_is_as_the_session_began() {
        let start = Some(map(&[("intervalstyle", "iso_8601"), ("xmloption", "document")]));
        for reset in ["reset all", "discard all"] {
            let pinned = map(&[("datestyle", "ISO, MDY")]);
            let mut settings = Settings::new(pinned, &map(&[("xmloption", "document")]));
            settings.reported("intervalstyle".to_owned(), "iso_8601");
            for (place, text) in
                ["set lc_time to 'C'", "begin; set local lc_numeric to 'C'", "set xmloption to content", reset].iter().enumerate()
            {
                let number = place as u64 + 1;
                settings.sent(number, &statements(text), true);
                settings.confirmed(number, false, true);
            }
            assert_eq!((!settings.is_uncertain()).then(|| settings.differing()), start, "{reset}");
        }
        // Undone with its transaction: nothing is sure.
        assert_eq!(after(&["set lc_time to 'C'", "begin; reset all", "rollback"]), None);
    }

    #[test]
    fn f35_what_may_have_been_undone_is_uncertain_before_the_server_is_ready() {
        let mut settings = Settings::new(BTreeMap::new(), &BTreeMap::new());
        settings.sent(1, &statements("set xmloption to document"), true);
        assert!(!settings.is_uncertain(), "it ran, or nothing after it does");
        settings.sent(2, &statements("rollback"), false);
        assert!(settings.is_uncertain());
        settings.confirmed(2, false, true);
        assert!(settings.is_uncertain());
    }

    #[test]
    fn f42_settings_nobody_could_look_at_are_not_kept() {
        let mut settings = Settings::new(BTreeMap::new(), &BTreeMap::new());
        for n in 0..10_000 {
            settings.sent(n, &statements(&format!("set made.up{n} to 1")), true);
        }
        assert!(settings.is_uncertain() && settings.sent.len() <= MAX_SETTINGS);
    }
}
