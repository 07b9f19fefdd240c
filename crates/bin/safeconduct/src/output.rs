//! What people and scripts get to see: data to standard output, all else to standard error, nothing a terminal would obey.

use std::{
    io::{IsTerminal as _, Write as _},
    sync::atomic::{AtomicBool, Ordering},
};

use safeconduct_model::{
    Timestamp,
    text::{printable, printable_lines},
};
use serde::Serialize;

use crate::{failure::Failure, table};

/// True once something was printed for machines: they get one document, or lines of them.
static SAID: AtomicBool = AtomicBool::new(false);

/// How to print.
#[derive(Clone, Copy, Debug, Default)]
pub struct Output {
    pub json: bool,
    colour: bool,
    colour_errors: bool,
}

/// A colour with a meaning.
#[derive(Clone, Copy, Debug)]
pub enum Tone {
    Good,
    Waiting,
    Bad,
    Quiet,
    Strong,
}

impl Output {
    /// Colours only on a terminal that has not said no.
    pub fn new(json: bool) -> Self {
        let wanted =
            std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty()) && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        Self { json, colour: wanted && std::io::stdout().is_terminal(), colour_errors: wanted && std::io::stderr().is_terminal() }
    }

    /// A line of data. Unprintable characters are escaped, line breaks kept.
    pub fn line(&self, text: impl AsRef<str>) -> Result<(), Failure> {
        write_out(format!("{}\n", printable_lines(text.as_ref())).as_bytes())
    }

    /// A line of data that is already safe, such as one with colours of ours.
    pub fn safe_line(&self, text: impl AsRef<str>) -> Result<(), Failure> {
        write_out(format!("{}\n", text.as_ref()).as_bytes())
    }

    /// Bytes that must stay as they are, such as CSV or a completion script.
    pub fn bytes(&self, bytes: &[u8]) -> Result<(), Failure> {
        write_out(bytes)
    }

    /// A value for machines.
    pub fn json(&self, value: &impl Serialize) -> Result<(), Failure> {
        SAID.store(true, Ordering::Relaxed);
        let text = serde_json::to_string_pretty(value).map_err(|error| Failure::nonsense(error.to_string()))?;
        write_out(format!("{}\n", escape_json(&text)).as_bytes())
    }

    /// One value for machines on a line of its own.
    pub fn json_line(&self, value: &impl Serialize) -> Result<(), Failure> {
        SAID.store(true, Ordering::Relaxed);
        let text = serde_json::to_string(value).map_err(|error| Failure::nonsense(error.to_string()))?;
        write_out(format!("{}\n", escape_json(&text)).as_bytes())
    }

    /// Something worth knowing that is not data.
    pub fn note(&self, text: impl AsRef<str>) {
        // Nobody reading any more is no reason to fail.
        let _ = writeln!(std::io::stderr(), "{}", printable_lines(text.as_ref()));
    }

    /// The same for a text that is already safe, such as one with colours of ours.
    pub fn note_safe(&self, text: &str) {
        let _ = writeln!(std::io::stderr(), "{text}");
    }

    /// A failure: for machines on standard output too, unless they were told already what there is to tell.
    pub fn failure(&self, failure: &Failure) {
        if self.json && !SAID.load(Ordering::Relaxed) {
            let _ = self.json(&crate::failure::to_json(failure));
        }
        let text = failure.to_string();
        let text = match text.split_once(':') {
            Some((head, rest)) if self.colour_errors => format!("\u{1b}[1;31m{head}\u{1b}[0m:{rest}"),
            _ => text,
        };
        let _ = writeln!(std::io::stderr(), "{text}");
    }

    /// Colours a text, made printable first.
    pub fn paint(&self, tone: Tone, text: &str) -> String {
        let text = printable(text);
        if !self.colour {
            return text;
        }
        let code = match tone {
            Tone::Good => "32",
            Tone::Waiting => "33",
            Tone::Bad => "31",
            Tone::Quiet => "2",
            Tone::Strong => "1",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }

    /// The same for what goes to standard error.
    pub fn paint_note(&self, tone: Tone, text: &str) -> String {
        Self { colour: self.colour_errors, ..*self }.paint(tone, text)
    }

    /// The state of an access request in its colour.
    pub fn state(&self, state: &str) -> String {
        let tone = match state {
            "active" | "ready" | "applied" | "settled" => Tone::Good,
            "pending" | "scheduled" | "claimed" => Tone::Waiting,
            "refused" | "denied" | "revoked" => Tone::Bad,
            _ => Tone::Quiet,
        };
        self.paint(tone, state)
    }

    /// A list, or a note that there is nothing to show. Cut to the terminal's width. Cells must be printable already.
    pub fn table(&self, headings: &[&str], rows: &[Vec<String>], nothing: &str) -> Result<(), Failure> {
        if rows.is_empty() {
            self.note(nothing);
            return Ok(());
        }
        let width = std::io::stdout().is_terminal().then(|| usize::from(console::Term::stdout().size().1));
        self.lines_of(headings, rows, width)
    }

    /// Rows of a result, whole, however wide. Cells must be printable already.
    pub fn result(&self, headings: &[&str], rows: &[Vec<String>]) -> Result<(), Failure> {
        self.lines_of(headings, rows, None)
    }

    fn lines_of(&self, headings: &[&str], rows: &[Vec<String>], width: Option<usize>) -> Result<(), Failure> {
        let headings: Vec<String> = headings.iter().map(|heading| self.paint(Tone::Strong, heading)).collect();
        table::lines(&headings, rows, width).iter().try_for_each(|line| self.safe_line(line))
    }

    /// Ids alone, one a line, to be handed to another command.
    pub fn ids<'a>(&self, ids: impl Iterator<Item = &'a str>) -> Result<(), Failure> {
        for id in ids {
            self.line(id)?;
        }
        Ok(())
    }
}

/// A number of things in words: `1 grant`, `2 grants`.
pub fn count(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// Cells made printable.
pub fn cell(text: impl AsRef<str>) -> String {
    printable(text.as_ref())
}

/// A time as people say it, seen from now: `in 12 min (14:05)`, `3 h ago (2026-11-21 23:10)`.
pub fn when(text: &str) -> String {
    match text.parse::<Timestamp>() {
        Ok(at) => when_seen(at, Timestamp::from_micros(jiff::Timestamp::now().as_microsecond()), &jiff::tz::TimeZone::system()),
        Err(_) => printable(text),
    }
}

/// The same in as few characters as a list needs: `in 12 min`, `3 h ago`.
pub fn when_short(text: &str) -> String {
    match text.parse::<Timestamp>() {
        Ok(at) => relative(at, Timestamp::from_micros(jiff::Timestamp::now().as_microsecond())),
        Err(_) => printable(text),
    }
}

fn relative(at: Timestamp, now: Timestamp) -> String {
    let seconds = at.micros().saturating_sub(now.micros()).div_euclid(1_000_000);
    let length = length(seconds.unsigned_abs());
    if seconds.unsigned_abs() < 1 {
        "now".to_owned()
    } else if seconds > 0 {
        format!("in {length}")
    } else {
        format!("{length} ago")
    }
}

fn when_seen(at: Timestamp, now: Timestamp, zone: &jiff::tz::TimeZone) -> String {
    let relative = relative(at, now);
    let local = |t: Timestamp| jiff::Timestamp::from_microsecond(t.micros()).ok().map(|t| t.to_zoned(zone.clone()));
    match (local(at), local(now)) {
        (Some(at), Some(now)) if at.date() == now.date() => format!("{relative} ({})", at.strftime("%H:%M:%S")),
        (Some(at), _) => format!("{relative} ({})", at.strftime("%Y-%m-%d %H:%M")),
        _ => relative,
    }
}

fn length(seconds: u64) -> String {
    match seconds {
        0..90 => format!("{seconds} s"),
        90..5400 => format!("{} min", (seconds + 30) / 60),
        5400..172_800 => format!("{} h", (seconds + 1800) / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// JSON stays JSON, but no character reaches a terminal that could deceive there.
fn escape_json(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        let mut buffer = [0; 4];
        if c == '\n' || printable(c.encode_utf8(&mut buffer)) == *c.encode_utf8(&mut [0; 4]) {
            escaped.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            escaped.push_str(&format!("\\u{unit:04x}"));
        }
    }
    escaped
}

fn write_out(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        // Whoever closed the pipe has seen enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        written => written.map_err(|error| Failure::local("writing to standard output", &error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_relative_and_absolute() {
        let now: Timestamp = "2026-11-22T14:00:00Z".parse().unwrap();
        let seen = |seconds: i64| when_seen(now.plus_seconds(seconds), now, &jiff::tz::TimeZone::UTC);
        insta::assert_snapshot!(
            [0, 5, 720, -3600, 7200, -90_000, 700_000].map(seen).join("\n"),
            @r"
        now (14:00:00)
        in 5 s (14:00:05)
        in 12 min (14:12:00)
        60 min ago (13:00:00)
        in 2 h (16:00:00)
        25 h ago (2026-11-21 13:00)
        in 8 days (2026-11-30 16:26)
        "
        );
    }

    #[test]
    fn f46_json_on_a_terminal_obeys_nobody_and_reads_back() {
        let value = serde_json::json!({"a\u{202e}": "x\u{9b}31m\u{e0041}\u{1b}[2Jé\n"});
        let text = escape_json(&serde_json::to_string_pretty(&value).unwrap());
        assert!(!text.chars().any(|c| (c.is_control() && c != '\n') || c == '\u{202e}' || c == '\u{e0041}'), "{text}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
    }

    #[test]
    fn f46_cells_and_colours_pass_nothing_on() {
        let output = Output { json: false, colour: true, colour_errors: true };
        assert_eq!(cell("a\u{1b}[2J\nb"), "a\\u{1b}[2J\\nb");
        assert_eq!(output.paint(Tone::Bad, "a\u{1b}b"), "\u{1b}[31ma\\u{1b}b\u{1b}[0m");
    }
}
