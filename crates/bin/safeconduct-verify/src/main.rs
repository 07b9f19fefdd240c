//! `safeconduct-verify`: verifies a ledger offline. Sees the ledger's format and nothing else of Safeconduct.
//!
//! Decides only how a verdict is worded and which exit status it has: 0 verified, 1 not verified or not readable, 2 wrong
//! usage. Writes nothing but its two output streams.
mod arguments;

use arguments::{Arguments, Request, Target, USAGE};
use safeconduct_evidence::Roots;
use safeconduct_ledger::canonical::{CanonicalError, to_canonical};
use safeconduct_ledger::{
    BadPlace, Checkpoint, EntryProof, MAX_NOTE_BYTES, MAX_PROOF_BYTES, ProvedEntry, Report, VerifierKey, explain, verify_log,
};
use safeconduct_verify::{Directory, MAX_RECEIPT_BYTES, Proved, Receipt, printable};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::ExitCode;

const VERIFIED: u8 = 0;
const FAILED: u8 = 1;
const USAGE_ERROR: u8 = 2;

fn main() -> ExitCode {
    let (out, err, status) = match arguments::parse(std::env::args_os().skip(1)) {
        Ok(Request::Help) => (USAGE.to_owned(), String::new(), VERIFIED),
        Ok(Request::Version) => (concat!("safeconduct-verify ", env!("CARGO_PKG_VERSION"), "\n").to_owned(), String::new(), VERIFIED),
        Ok(Request::Verify(arguments)) => run(&arguments),
        Err(problem) => (String::new(), format!("error: {problem}\n  next: safeconduct-verify --help\n"), USAGE_ERROR),
    };
    // Whoever closed the pipe does not want to know; the status still tells.
    let _ = std::io::stdout().write_all(out.as_bytes());
    let _ = std::io::stderr().write_all(err.as_bytes());
    ExitCode::from(status)
}

/// What to print, on standard output and on standard error, and the exit status.
fn run(arguments: &Arguments) -> (String, String, u8) {
    let verdict = prepare(arguments).and_then(|(keys, remembered)| match &arguments.target {
        Target::Directory(path) => {
            if !path.is_dir() {
                return Err(Failure::Unreadable(format!("`{}` is not a directory", path.display())));
            }
            verify_log(&mut Directory::new(path), &keys, &remembered).map(|report| Verdict::Log(Box::new(report))).map_err(Failure::Bad)
        }
        Target::Proof(path) => {
            let bytes = read(path, MAX_PROOF_BYTES)?;
            let proved = EntryProof::parse(&bytes).and_then(|proof| proof.verify(&keys));
            proved.map(|proved| Verdict::Entry(Box::new(proved))).map_err(|error| Failure::Proof(explain(&error)))
        }
        Target::Receipt(path) => {
            let bytes = read(path, MAX_RECEIPT_BYTES)?;
            let roots = arguments.roots.as_deref().map(|path| roots(path, arguments.needed)).transpose()?;
            let proved = Receipt::parse(&bytes).and_then(|receipt| receipt.verify(&keys, roots.as_ref()));
            proved.map(|proved| Verdict::Receipt(Box::new(proved))).map_err(|error| Failure::Receipt(error.to_string()))
        }
    });
    match (verdict, arguments.json) {
        (Ok(verdict), true) => (verdict.json(), String::new(), VERIFIED),
        (Ok(verdict), false) => (verdict.text(), String::new(), VERIFIED),
        (Err(failure), true) => (failure.json(), String::new(), FAILED),
        // A verdict, good or bad, is this program's output; only what kept it from one is an error.
        (Err(Failure::Unreadable(what)), false) => (String::new(), format!("error: {}\n", printable(&what)), FAILED),
        (Err(failure), false) => (failure.text(), String::new(), FAILED),
    }
}

fn prepare(arguments: &Arguments) -> Result<(Vec<VerifierKey>, Vec<Checkpoint>), Failure> {
    let mut keys = Vec::new();
    for vkey in &arguments.vkeys {
        keys.push(VerifierKey::parse(vkey.trim()).map_err(|error| Failure::Unreadable(format!("`--vkey`: {error}")))?);
    }
    for path in &arguments.vkey_files {
        let text = String::from_utf8(read(path, MAX_NOTE_BYTES)?).map_err(|_| Failure::at(path, "is not text"))?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        for line in lines {
            keys.push(VerifierKey::parse(line).map_err(|error| Failure::at(path, error))?);
        }
    }
    let mut remembered = Vec::new();
    for path in &arguments.checkpoints {
        let signed = Checkpoint::open(&read(path, MAX_NOTE_BYTES)?, &keys).map_err(|error| Failure::at(path, explain(&error)))?;
        remembered.push(signed.checkpoint);
    }
    Ok((keys, remembered))
}

fn roots(path: &Path, needed: Option<usize>) -> Result<Roots, Failure> {
    let text = String::from_utf8(read(path, MAX_NOTE_BYTES)?).map_err(|_| Failure::at(path, "is not text"))?;
    Roots::read(&text, needed).map_err(|invalid| Failure::at(path, invalid))
}

fn read(path: &Path, limit: usize) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(limit as u64 + 1).read_to_end(&mut bytes));
    read.map_err(|error| Failure::at(path, error))?;
    if bytes.len() > limit { Err(Failure::at(path, format_args!("larger than {limit} bytes"))) } else { Ok(bytes) }
}

enum Verdict {
    Log(Box<Report>),
    Entry(Box<ProvedEntry>),
    Receipt(Box<Proved>),
}

impl Verdict {
    fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = match self {
            Self::Log(report) => log_text(&mut text, report),
            Self::Entry(proved) => writeln!(
                text,
                "entry ok: {} of `{}` is version {} of `{}`, type `{}`, under checkpoint {} signed by {}",
                proved.entry.index,
                printable(&proved.checkpoint.checkpoint.origin),
                proved.entry.version,
                proved.entry.stream,
                proved.entry.kind,
                proved.checkpoint.checkpoint.size,
                printable(&proved.checkpoint.signed_by),
            ),
            Self::Receipt(proved) => write!(text, "receipt ok: {proved}"),
        };
        text
    }

    fn json(&self) -> String {
        match self {
            Self::Log(report) => json_line(true, "ledger", to_canonical(report.as_ref())),
            Self::Receipt(proved) => json_line(true, "receipt", to_canonical(proved.as_ref())),
            // A leaf is canonical JSON already, and one that was parsed can be written.
            Self::Entry(proved) => json_line(true, "entry", Ok(proved.entry.to_leaf().unwrap_or_else(|_| b"null".to_vec()))),
        }
    }
}

fn log_text(text: &mut String, report: &Report) -> std::fmt::Result {
    let entries = count(report.entries, "entry", "entries");
    writeln!(text, "ledger ok: {entries}, checkpoint {} signed by {}", report.entries, printable(&report.signed_by))?;
    match report.uncovered {
        0 => {}
        n => writeln!(text, "  {} after the checkpoint: not covered by any signature yet", count(n, "entry", "entries"))?,
    }
    match report.bodies {
        Some(bodies) => writeln!(text, "  bodies: {} present and as committed, {} erased", bodies.present, bodies.erased)?,
        None => writeln!(text, "  bodies: not here, not checked")?,
    }
    match report.remembered[..] {
        [] => writeln!(text, "  no earlier checkpoint was given: whether history was rewritten and signed again cannot be seen"),
        _ => {
            let sizes: Vec<_> = report.remembered.iter().map(u64::to_string).collect();
            writeln!(text, "  extends the remembered checkpoint of {}", sizes.join(", "))
        }
    }
}

enum Failure {
    /// The log is not what it should be.
    Bad(BadPlace),
    /// The proof does not hold.
    Proof(String),
    /// The receipt does not hold.
    Receipt(String),
    /// A key, a checkpoint or a file that was named could not be used.
    Unreadable(String),
}

impl Failure {
    fn at(path: &Path, what: impl std::fmt::Display) -> Self {
        Self::Unreadable(format!("`{}`: {what}", path.display()))
    }

    fn text(&self) -> String {
        match self {
            Self::Bad(BadPlace { index: None, path: None, what }) => format!("ledger BROKEN: {}\n", printable(what)),
            Self::Bad(place) => format!("ledger BROKEN at {}\n", printable(&place.to_string())),
            Self::Proof(what) => format!("proof BROKEN: {}\n", printable(what)),
            Self::Receipt(what) => format!("receipt BROKEN: {}\n", printable(what)),
            Self::Unreadable(what) => format!("error: {}\n", printable(what)),
        }
    }

    fn json(&self) -> String {
        match self {
            Self::Bad(place) => json_line(false, "bad_place", to_canonical(place)),
            Self::Proof(what) | Self::Receipt(what) | Self::Unreadable(what) => json_line(false, "error", to_canonical(what)),
        }
    }
}

/// `{"<name>":…,"ok":…}` and a newline; the value is JSON.
fn json_line(ok: bool, name: &str, value: Result<Vec<u8>, CanonicalError>) -> String {
    let value = value.ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_else(|| "null".into());
    format!("{{\"{name}\":{value},\"ok\":{ok}}}\n")
}

fn count(n: u64, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}
