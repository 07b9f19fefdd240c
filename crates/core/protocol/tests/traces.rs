//! Recorded and hand-written conversations, each replayed whole, byte by byte and cut at every place.
//!
//! `tests/traces/postgres/README.md` explains the language.
#![allow(clippy::indexing_slicing, clippy::unwrap_used, clippy::panic, reason = "whatever goes wrong fails the test")]

#[path = "support/script.rs"]
mod script;
mod support;

use std::path::{Path, PathBuf};

use bytes::BytesMut;
use safeconduct_protocol::postgres::{
    gate::{Ended, Gate, Output, Record, Resolution, Settlement},
    messages::Report,
};
use support::{ByOperation, frames, gate, permit};

/// How the bytes of one direction arrive.
#[derive(Clone, Copy, Debug)]
enum Cut {
    Whole,
    EveryByte,
    /// In two, at this place of each burst.
    At(usize),
}

struct Replay {
    gate: Gate,
    judge: ByOperation,
    client: BytesMut,
    server: BytesMut,
    to_client: BytesMut,
    to_server: BytesMut,
    /// What came out and was not yet expected by the trace.
    found: Vec<String>,
    cut: Cut,
    longest: usize,
}

impl Replay {
    fn feed(&mut self, bytes: &[u8], from_client: bool) {
        self.longest = self.longest.max(bytes.len());
        let pieces: Vec<&[u8]> = match self.cut {
            Cut::Whole => vec![bytes],
            Cut::EveryByte => bytes.chunks(1).collect(),
            Cut::At(at) => {
                let (a, b) = bytes.split_at(at.min(bytes.len()));
                vec![a, b]
            }
        };
        for piece in pieces {
            if from_client {
                self.client.extend_from_slice(piece)
            } else {
                self.server.extend_from_slice(piece)
            }
            self.advance();
        }
    }

    fn advance(&mut self) {
        let mut out = Vec::new();
        self.gate.advance(&mut self.client, &mut self.server, &mut self.judge, &mut out);
        self.take(out);
    }

    fn take(&mut self, out: Vec<Output>) {
        for output in out {
            match output {
                Output::ToServer(bytes) => {
                    self.to_server.extend_from_slice(&bytes);
                    let shown =
                        frames(&mut self.to_server).into_iter().map(|(tag, body)| format!("S> {}", script::show_client(tag, &body)));
                    self.found.extend(shown);
                }
                Output::ToClient(bytes) => {
                    self.to_client.extend_from_slice(&bytes);
                    let shown =
                        frames(&mut self.to_client).into_iter().map(|(tag, body)| format!("C< {}", script::show_server(tag, &body)));
                    self.found.extend(shown);
                }
                Output::Record(record) => self.found.push(format!("R  {}", show_record(&record))),
                Output::Hold(ask) => {
                    let copied = ask.copy_data.as_ref();
                    let copied = copied.map(|data| format!(" copies {} bytes {:?}", data.size_bytes, data.first_lines)).unwrap_or_default();
                    let settings: String = ask.settings.iter().map(|(name, value)| format!(" {name}={value:?}")).collect();
                    self.found.push(format!("!  hold {:?} needs {}{copied}{settings}", ask.text, ask.operations));
                }
                Output::Withdrawn => self.found.push("!  withdrawn".to_owned()),
                Output::Close(reason) => self.found.push(format!("!  close {reason}")),
            }
        }
    }
}

fn show_record(record: &Record) -> String {
    match record {
        Record::Intent(intent) => {
            let values: String = intent
                .parameters
                .iter()
                .map(|p| match (&p.hex, &p.shown) {
                    (None, _) => " null".to_owned(),
                    (_, shown) => format!(" {:?}", shown.as_deref().unwrap_or("?")),
                })
                .collect();
            let claimed = intent.claimed.as_ref().map(|claimed| format!(" claims {claimed}")).unwrap_or_default();
            format!("intent {} {:?}{values} needs {}{claimed}", intent.statement, intent.text, intent.operations)
        }
        Record::Outcome { statement, ended } => match ended {
            Ended::Completed { tag, rows } => {
                format!("outcome {statement} {tag:?} rows {}", rows.map_or("-".to_owned(), |rows| rows.to_string()))
            }
            Ended::Failed { sqlstate, .. } => format!("outcome {statement} failed {sqlstate}"),
            Ended::Stopped { rows } => format!("outcome {statement} stopped after {rows}"),
            Ended::NotRun => format!("outcome {statement} not run"),
            Ended::Unknown => format!("outcome {statement} unknown"),
        },
        Record::Refused { text, report, .. } => format!("refused {text:?} {}", report.sqlstate),
        Record::Settled { through, how } => format!("settled {through} {}", show_settlement(*how)),
        Record::SettledApart { statements, how } => format!("settled only {statements:?} {}", show_settlement(*how)),
    }
}

fn show_settlement(how: Settlement) -> &'static str {
    match how {
        Settlement::Committed => "committed",
        Settlement::RolledBack => "rolled back",
        Settlement::Unknown => "unknown",
    }
}

fn replay(path: &Path, cut: Cut) -> usize {
    let text = std::fs::read_to_string(path).unwrap();
    let (mut permits, mut holds) = ("connect read".to_owned(), String::new());
    let mut lines = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some(words) = line.strip_prefix("permits ") {
            words.clone_into(&mut permits);
        } else if let Some(words) = line.strip_prefix("holds ") {
            words.clone_into(&mut holds);
        } else if !line.is_empty() && !line.starts_with('#') {
            lines.push((number + 1, line));
        }
    }
    let mut replay = Replay {
        gate: gate(),
        judge: ByOperation::new(&permits, &holds),
        client: BytesMut::new(),
        server: BytesMut::new(),
        to_client: BytesMut::new(),
        to_server: BytesMut::new(),
        found: Vec::new(),
        cut,
        longest: 0,
    };
    let mut at = 0;
    while at < lines.len() {
        // A burst: everything sent by one side before anything is expected.
        let (number, line) = lines[at];
        let burst = |prefix: &str| lines[at..].iter().map_while(|(_, line)| line.strip_prefix(prefix)).collect::<Vec<_>>();
        if line.starts_with("C> ") {
            let sent = burst("C> ");
            at += sent.len();
            replay.feed(&sent.iter().flat_map(|line| script::client_message(line)).collect::<Vec<_>>(), true);
        } else if line.starts_with("S< ") {
            let sent = burst("S< ");
            at += sent.len();
            replay.feed(&sent.iter().flat_map(|line| script::server_message(line)).collect::<Vec<_>>(), false);
        } else if let Some(act) = line.strip_prefix("=> ") {
            at += 1;
            let words = script::words(act);
            match words[0].as_str() {
                "approve" => replay.gate.resolve(Resolution::Approved(permit(Some(9)))),
                "deny" => replay.gate.resolve(Resolution::Refused(Report::new(&words[1], &words[2]))),
                "uncover" => replay.judge.covered = false,
                "permits" => replay.judge.permits = support::operations(&words[1..].join(" ")),
                "finish" => {
                    let mut out = Vec::new();
                    replay.gate.finish(&mut out);
                    replay.take(out);
                }
                "cut" => {
                    let mut out = Vec::new();
                    replay.gate.cut(&Report::new("57P01", &words[1]), &mut out);
                    replay.take(out);
                }
                other => panic!("{}:{number}: unknown act `{other}`", path.display()),
            }
            replay.advance();
        } else {
            panic!("{}:{number}: expected, but nothing of it came: {line}", path.display());
        }
        // Each channel keeps its order; how channels interleave depends on how bytes arrive.
        let mut wanted: Vec<_> = Vec::new();
        while at < lines.len() && ["S> ", "C< ", "R ", "! "].iter().any(|prefix| lines[at].1.starts_with(prefix)) {
            wanted.push(lines[at].1.to_owned());
            at += 1;
        }
        let channel = |lines: &[String], prefix: char| lines.iter().filter(|line| line.starts_with(prefix)).cloned().collect::<Vec<_>>();
        for prefix in ['S', 'C', 'R', '!'] {
            let (found, wanted) = (channel(&replay.found, prefix), channel(&wanted, prefix));
            assert_eq!(found, wanted, "{}: after line {number} ({cut:?})", path.display());
        }
        replay.found.clear();
    }
    replay.longest
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../tests/traces/postgres")
}

fn hold(name: &str) {
    let path = folder().join(name).with_extension("trace");
    let longest = replay(&path, Cut::Whole);
    replay(&path, Cut::EveryByte);
    for at in 1..longest {
        replay(&path, Cut::At(at));
    }
}

macro_rules! traces {
    ($($name:ident),* $(,)?) => {
        $(#[test] fn $name() { hold(stringify!($name)); })*

        #[test]
        fn every_trace_is_replayed() {
            let mut found: Vec<_> = std::fs::read_dir(folder())
                .unwrap()
                .filter_map(|entry| Some(entry.unwrap().file_name().to_str()?.strip_suffix(".trace")?.to_owned()))
                .collect();
            found.sort();
            assert_eq!(found, [$(stringify!($name)),*]);
        }
    };
}

traces! {
    claimed_and_savepoints,
    error_skips_to_sync,
    f01_cut_mid_statement,
    f33_copy_in,
    f33_copy_in_extended,
    f33_copy_in_format,
    f33_copy_in_not_alone,
    f33_copy_in_refused,
    f33_copy_in_spooled,
    f33_copy_in_twice,
    f33_cursor,
    f33_doubtful_prepare,
    f33_function_call,
    f33_function_call_unrestricted,
    f33_meaning_changes_after_bind,
    f33_parse_once_bind_many,
    f33_query_during_copy,
    f33_rejected_parse,
    f33_skipped_close,
    f33_sql_execute,
    f34_stacked,
    f35_settings,
    f35_settings_in_pipeline,
    f35_settings_shown,
    f35_settings_uncertain,
    f35_unparsable,
    fatal_and_notices,
    held_approved,
    held_in_pipeline,
    held_unreadable_parameter,
    portal_after_grant_ended,
    portal_suspended,
    prepared_transaction,
    session_name,
    simple_read,
    simple_refused_in_transaction,
    temporary_objects,
    uncovered_commit,
    uncovered_sync,
}
