//! Random conversations with a small model of PostgreSQL behind the gate.
//!
//! The invariant that matters most: whatever the server runs was permitted, with exactly the text and parameters it runs.
#![allow(clippy::indexing_slicing, clippy::unwrap_used, clippy::panic, reason = "whatever goes wrong fails the test")]

#[path = "support/script.rs"]
mod script;
#[path = "support/server.rs"]
mod server;
mod support;

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use bytes::BytesMut;
use proptest::prelude::*;
use safeconduct_model::{AccessRequestId, Digest, Operation};
use safeconduct_protocol::postgres::{
    gate::{Ask, Charge, Ended, Gate, Intent, Judge, Output, Record, Resolution, Verdict},
    messages::Report,
};
use safeconduct_sql::facts::{Facts, StatementKind};
use server::Server;
use support::{facts, frames, gate, permit};

/// How strict a text is: 0 passes, 1 needs approval, 2 never passes. Its digits say so, and those of what it binds.
fn class(text: &str, values: &[Option<Vec<u8>>]) -> u8 {
    let own = text.split(';').map(str::trim).filter(|part| !part.starts_with("prepare") && !part.starts_with("declare"));
    let own = own.flat_map(|part| digits(part.as_bytes()));
    own.chain(values.iter().flatten().flat_map(|value| digits(value))).max().unwrap_or(0)
}

fn digits(text: &[u8]) -> Vec<u8> {
    let at = |place: usize| place.checked_sub(1).and_then(|place| text.get(place));
    text.iter()
        .enumerate()
        .filter(|(place, byte)| byte.is_ascii_digit() && at(*place) != Some(&b'$'))
        .map(|(_, byte)| byte - b'0')
        .collect()
}

/// What a reference runs: the text behind PREPARE or DECLARE, else the text itself.
fn behind(text: &str) -> &str {
    let cut = if text.starts_with("prepare") { " as " } else { " for " };
    if text.starts_with("prepare") || text.starts_with("declare") { text.split_once(cut).unwrap().1 } else { text }
}

struct ByClass {
    everything: bool,
    covered: bool,
    cache: HashMap<String, Arc<Facts>>,
}

impl Judge for ByClass {
    fn facts(&mut self, text: &str) -> Arc<Facts> {
        Arc::clone(self.cache.entry(text.to_owned()).or_insert_with(|| facts(text)))
    }

    fn judge(&mut self, ask: &Ask) -> Verdict {
        let values: Vec<_> = ask.parameters.iter().map(|value| value.shown.as_ref().map(|shown| shown.clone().into_bytes())).collect();
        // A statement made by SQL PREPARE is asked about under the text that made it, with the facts of what it runs.
        let bound =
            ask.text.starts_with("prepare") && !ask.facts.statements.iter().any(|one| matches!(one.kind, StatementKind::Prepare { .. }));
        let mut strict = class(if bound { behind(&ask.text) } else { &ask.text }, &values);
        for reference in &ask.references {
            strict = strict.max(match &reference.text {
                _ if reference.operations.contains(Operation::Unknown) => 2,
                Some(text) => class(behind(text), &[]),
                None => {
                    let declared = format!("declare {} cursor", reference.name);
                    let parts = ask.text.split(';').map(str::trim).filter(|part| part.starts_with(&declared));
                    parts.map(|part| class(behind(part), &[])).max().unwrap()
                }
            });
        }
        if ask.operations.contains(Operation::Unknown) {
            strict = 2;
        }
        match strict {
            _ if self.everything => Verdict::Permit(permit(None)),
            0 => Verdict::Permit(permit(None)),
            1 => Verdict::Hold,
            _ => Verdict::Refuse(Report::new("42501", "refused")),
        }
    }

    fn still_covered(&mut self, _: &[Charge]) -> bool {
        self.covered
    }
}

struct World {
    gate: Gate,
    judge: ByClass,
    server: Server,
    /// Sent by the client, not yet at the gate.
    wire: VecDeque<u8>,
    client: BytesMut,
    from_server: BytesMut,
    to_client: BytesMut,
    intents: VecDeque<Intent>,
    /// Texts of all intents.
    judged: Vec<Arc<str>>,
    /// The intent behind each carrier of the server.
    behind: Vec<Intent>,
    checked: usize,
    /// What was approved to be copied, by the access request.
    approved_data: HashMap<AccessRequestId, Digest>,
    checked_copies: usize,
    outcomes: HashMap<u64, Ended>,
    approve: bool,
    approvals: u64,
    closed: bool,
}

impl World {
    fn new(everything: bool) -> Self {
        Self {
            gate: gate(),
            judge: ByClass { everything, covered: true, cache: HashMap::new() },
            server: Server::new(),
            wire: VecDeque::new(),
            client: BytesMut::new(),
            from_server: BytesMut::new(),
            to_client: BytesMut::new(),
            intents: VecDeque::new(),
            judged: Vec::new(),
            behind: Vec::new(),
            checked: 0,
            approved_data: HashMap::new(),
            checked_copies: 0,
            outcomes: HashMap::new(),
            approve: true,
            approvals: 0,
            closed: false,
        }
    }

    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match step {
            Step::Send(lines) => lines.iter().for_each(|line| self.wire.extend(script::client_message(line))),
            Step::Client(count) => {
                let count = (*count).min(self.wire.len());
                self.client.extend(self.wire.drain(..count));
            }
            Step::Serve(count) => {
                for _ in 0..*count {
                    if !self.server.step() {
                        break;
                    }
                    self.check()?;
                }
            }
            Step::Server(count) => {
                let count = (*count).min(self.server.output.len());
                self.from_server.extend(self.server.output.drain(..count));
            }
            Step::Approve(approve) => self.approve = *approve,
        }
        self.advance();
        Ok(())
    }

    fn advance(&mut self) {
        loop {
            let mut out = Vec::new();
            self.gate.advance(&mut self.client, &mut self.from_server, &mut self.judge, &mut out);
            let mut again = false;
            for output in out {
                match output {
                    Output::ToServer(bytes) if !self.closed => self.server.feed(&bytes),
                    Output::ToClient(bytes) => self.to_client.extend_from_slice(&bytes),
                    Output::Record(Record::Intent(intent)) => {
                        self.judged.push(Arc::clone(&intent.text));
                        self.intents.push_back(*intent);
                    }
                    Output::Record(Record::Outcome { statement, ended }) => assert!(self.outcomes.insert(statement, ended).is_none()),
                    Output::Hold(ask) => {
                        assert!(ask.can_hold() && !ask.wants_copy_data());
                        // What is shown is what the server reads the text under.
                        assert_eq!(ask.settings.get("xmloption").map_or("", String::as_str), self.server.setting, "{ask:?}");
                        self.approvals += 1;
                        if let Some(data) = &ask.copy_data {
                            self.approved_data.insert(AccessRequestId::from_bits(self.approvals), data.digest);
                        }
                        let claimed = permit(Some(self.approvals));
                        self.gate.resolve(if self.approve {
                            Resolution::Approved(claimed)
                        } else {
                            Resolution::Refused(Report::new("42501", "denied"))
                        });
                        again = true;
                    }
                    Output::Close(reason) => {
                        // An honest client and server are parted only over a copy that something else interrupts.
                        let shown = reason.to_string();
                        assert!(shown.contains("only copy data") || shown.contains("copy that nobody asked for"), "{shown}");
                        self.closed = true;
                    }
                    _ => {}
                }
            }
            if !again {
                break;
            }
        }
    }

    /// Matches what the server began with the intents, in order, and what it ran with both.
    fn check(&mut self) -> Result<(), TestCaseError> {
        while let Some(carrier) = self.server.carriers.get(self.behind.len()) {
            let place = self.intents.iter().position(|intent| {
                let values: Vec<_> =
                    intent.parameters.iter().map(|value| value.shown.as_ref().map(|shown| shown.clone().into_bytes())).collect();
                *intent.text == *carrier.text && values == carrier.values
            });
            let Some(place) = place else {
                return Err(TestCaseError::fail(format!("the server began without an intent: {carrier:?}")));
            };
            self.behind.extend(self.intents.drain(..=place).next_back());
        }
        while let Some(ran) = self.server.ran.get(self.checked) {
            self.checked += 1;
            let intent = &self.behind[ran.carrier.number];
            let strict = class(&ran.leaf, &ran.carrier.values);
            let allowed = u8::from(intent.claimed.is_some());
            prop_assert!(self.judge.everything || strict <= allowed, "{ran:?} ran under {intent:?}");
            if intent.claimed.is_some() {
                prop_assert!(ran.carrier.text.split(';').any(|part| part.trim() == ran.leaf), "an approval ran something else: {ran:?}");
            }
        }
        // An approved copy got exactly the bytes it was approved with.
        while let Some((carrier, data)) = self.server.copied.get(self.checked_copies) {
            self.checked_copies += 1;
            if let Some(claimed) = &self.behind[carrier.number].claimed {
                prop_assert_eq!(self.approved_data.get(claimed), Some(&Digest::of_bytes(data)), "{:?} copied {:?}", carrier, data);
            }
        }
        Ok(())
    }

    /// Everybody handles everything that is there.
    fn settle(&mut self) -> Result<(), TestCaseError> {
        for _ in 0..10_000 {
            let before = (self.wire.len(), self.client.len(), self.server.output.len(), self.server.carriers.len());
            self.step(&Step::Client(usize::MAX))?;
            let mut moved = false;
            while self.server.step() {
                moved = true;
                self.check()?;
            }
            self.step(&Step::Server(usize::MAX))?;
            let after = (self.wire.len(), self.client.len(), self.server.output.len(), self.server.carriers.len());
            if before == after && !moved {
                return Ok(());
            }
        }
        Err(TestCaseError::fail("the conversation never ends"))
    }
}

#[derive(Clone, Debug)]
enum Step {
    Send(Vec<String>),
    /// So many bytes reach the gate.
    Client(usize),
    /// The server handles so many messages.
    Serve(usize),
    /// So many of its bytes reach the gate.
    Server(usize),
    Approve(bool),
}

fn leaf() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => (0..3_u8).prop_map(|n| format!("select {n}")),
        2 => (0..3_u8).prop_map(|n| format!("update t set a = {n}")),
        1 => Just("select 0/0".to_owned()),
        1 => Just("insert into d values (0)".to_owned()),
    ]
}

fn name() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just("p"), Just("q")]
}

fn cursor() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just("c"), Just("e")]
}

fn statement() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => leaf(),
        2 => (name(), leaf()).prop_map(|(name, leaf)| format!("prepare {name} as {leaf}")),
        3 => name().prop_map(|name| format!("execute {name}")),
        2 => name().prop_map(|name| format!("deallocate {name}")),
        1 => Just("deallocate all".to_owned()),
        1 => Just("discard all".to_owned()),
        2 => (cursor(), 0..3_u8).prop_map(|(name, n)| format!("declare {name} cursor for select {n}")),
        1 => (cursor(), 0..3_u8).prop_map(|(name, n)| format!("declare {name} cursor with hold for select {n}")),
        2 => cursor().prop_map(|name| format!("fetch {name}")),
        1 => cursor().prop_map(|name| format!("close {name}")),
        1 => Just("close all".to_owned()),
        3 => Just("begin".to_owned()),
        2 => Just("commit".to_owned()),
        1 => Just("rollback".to_owned()),
        1 => Just("savepoint s".to_owned()),
        1 => Just("rollback to s".to_owned()),
        2 => any::<bool>().prop_map(|local| format!("set {}xmloption to document", if local { "local " } else { "" })),
        1 => Just("set xmloption to content".to_owned()),
        1 => Just("set xmloption to nonsense".to_owned()),
        1 => Just("reset xmloption".to_owned()),
        3 => (0..3_u8).prop_map(|n| format!("copy t{n} from stdin")),
    ]
}

fn any_name() -> impl Strategy<Value = &'static str> {
    prop_oneof![2 => Just(""), 1 => Just("p"), 1 => Just("q")]
}

fn message() -> impl Strategy<Value = Vec<String>> {
    let parse = (any_name(), prop_oneof![3 => statement(), 1 => Just("select $1".to_owned())]);
    let bind = (any_name(), any_name(), proptest::option::of(0..3_u8));
    prop_oneof![
        5 => (any_name(), any_name(), statement(), any::<bool>()).prop_map(|(statement, portal, text, sync)| {
            let mut lines = vec![format!("Parse {statement:?} {text:?}"), format!("Bind {portal:?} {statement:?}"), format!("Execute {portal:?}")];
            lines.extend(sync.then(|| "Sync".to_owned()));
            lines
        }),
        4 => proptest::collection::vec(statement(), 1..4).prop_map(|parts| vec![format!("Query {:?}", parts.join("; "))]),
        4 => parse.prop_map(|(name, text)| vec![format!("Parse {name:?} {text:?}")]),
        5 => bind.prop_map(|(portal, statement, value)| {
            vec![format!("Bind {portal:?} {statement:?}{}", value.map(|value| format!(" \"{value}\"")).unwrap_or_default())]
        }),
        5 => (any_name(), 0..2_u8).prop_map(|(portal, max)| vec![format!("Execute {portal:?} {max}")]),
        2 => any_name().prop_map(|name| vec![format!("Close S {name:?}")]),
        1 => any_name().prop_map(|name| vec![format!("Close P {name:?}")]),
        2 => (any::<bool>(), any_name()).prop_map(|(s, name)| vec![format!("Describe {} {name:?}", if s { "S" } else { "P" })]),
        5 => Just(vec!["Sync".to_owned()]),
        1 => Just(vec!["Flush".to_owned()]),
        3 => "[a-c]{0,9}".prop_map(|data| vec![format!("CopyData {data:?}"), "CopyDone".to_owned()]),
        2 => "[a-c]{0,9}".prop_map(|data| vec![format!("CopyData {data:?}")]),
        2 => (1..2_u8, "[a-c]{0,9}", "[a-c]{0,9}").prop_map(|(n, before, after)| {
            let data = |data: &str| format!("CopyData {data:?}");
            let done = || "CopyDone".to_owned();
            vec![format!("Query \"copy t{n} from stdin\""), data(&before), done(), data(&after), done()]
        }),
        1 => Just(vec!["CopyFail \"x\"".to_owned()]),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => message().prop_map(Step::Send),
        4 => (1..200_usize).prop_map(Step::Client),
        3 => (1..6_usize).prop_map(Step::Serve),
        3 => (1..200_usize).prop_map(Step::Server),
        1 => any::<bool>().prop_map(Step::Approve),
    ]
}

/// What a client sees, without wording: tags, and codes of errors.
fn seen(stream: &[u8]) -> Vec<String> {
    let mut buffer = BytesMut::from(stream);
    frames(&mut buffer)
        .into_iter()
        .map(|(tag, body)| {
            let shown = script::show_server(tag, &body);
            if tag == b'E' { script::words(&shown)[..2].join(" ") } else { shown }
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn f33_whatever_the_server_runs_was_permitted_as_it_runs(steps in proptest::collection::vec(step(), 1..80)) {
        let mut world = World::new(false);
        for step in &steps {
            world.step(step)?;
        }
        world.settle()?;
        // Whatever was left open: leave a copy, leave a pipeline.
        world.step(&Step::Send(vec!["CopyFail \"enough\"".to_owned()]))?;
        world.settle()?;
        world.step(&Step::Send(vec!["Sync".to_owned()]))?;
        world.settle()?;
        if !world.closed && !world.server.dead {
            prop_assert!(world.client.is_empty(), "the gate is stuck with {} bytes", world.client.len());
            prop_assert_eq!(world.gate.activity(), safeconduct_protocol::postgres::gate::Activity::Idle);
        }
        let mut out = Vec::new();
        world.gate.finish(&mut out);
        for output in out {
            if let Output::Record(Record::Outcome { statement, ended }) = output {
                prop_assert!(world.outcomes.insert(statement, ended).is_none(), "two outcomes");
            }
        }
        // Every intent has its outcome, and none says "not run" of what ran.
        for (number, intent) in world.behind.iter().enumerate() {
            if world.judged.iter().filter(|text| **text == intent.text).count() > 1 {
                // Which of two equal ones was skipped can't be told from outside.
                prop_assert!(world.outcomes.contains_key(&intent.statement));
                continue;
            }
            let ran = world.server.ran.iter().any(|ran| ran.carrier.number == number);
            match world.outcomes.get(&intent.statement) {
                None => return Err(TestCaseError::fail(format!("no outcome of {intent:?}"))),
                Some(Ended::NotRun) => prop_assert!(!ran || intent.text.contains("declare"), "{intent:?} ran"),
                Some(Ended::Completed { tag, .. }) if tag.starts_with("UPDATE") || tag == "SELECT 2" => prop_assert!(ran, "{intent:?} did not run"),
                Some(_) => {}
            }
        }
    }

    #[test]
    fn a_gate_that_permits_everything_is_not_noticed(steps in proptest::collection::vec(step(), 1..60)) {
        let mut world = World::new(true);
        let mut direct = Server::new();
        for step in &steps {
            world.step(step)?;
            if let Step::Send(lines) = step {
                lines.iter().for_each(|line| direct.feed(&script::client_message(line)));
            }
        }
        for line in ["CopyFail \"enough\"", "Sync"] {
            world.step(&Step::Send(vec![line.to_owned()]))?;
            direct.feed(&script::client_message(line));
        }
        world.settle()?;
        while direct.step() {}
        let (through, directly) = (seen(&world.to_client), seen(direct.output.make_contiguous()));
        // Where the gate itself refuses (a meaning that changed, a copy interrupted) the two part ways.
        // So they do over a name that a failed COMMIT left in doubt, or that EXECUTE of a PREPARE made unseen.
        let unseen = |line: &String| ["\"p\"", "\"q\""].iter().any(|name| line.starts_with(&format!("Parse {name} \"prepare")));
        let unseen = steps.iter().any(|step| matches!(step, Step::Send(lines) if lines.iter().any(unseen)));
        let doubt = through.iter().position(|line| unseen || line == "Error 23503").unwrap_or(through.len());
        let own = |(place, line): (usize, &String)| {
            line == "Error 42501" || line.starts_with("Fatal") || (place >= doubt && line == "Error 26000" && directly.get(place) != Some(line))
        };
        let until = through.iter().enumerate().position(own).unwrap_or(through.len());
        prop_assert_eq!(&through[..until], &directly[..until.min(directly.len())]);
        if until == through.len() && !direct.dead {
            prop_assert_eq!(through.len(), directly.len());
        }
    }
}
