//! `run`: one exact action from the asking to its outcome. What runs is what was approved: the text is sent once, when asking.

use std::io::{IsTerminal as _, Read as _};

use safeconduct_api::dto::{self, ResultLine};

use super::{Context, show};
use crate::{
    cli::{self, Format},
    client::Client,
    failure::{Exit, Failure},
    output::{Output, cell},
    waiting,
};

/// How long an approval may be used when nothing is said.
const USUAL: &str = "15m";
/// Rows that are laid out together.
const BATCH: usize = 500;
/// A line of results is never longer.
const LONGEST_LINE: usize = 64 * 1024 * 1024;

pub async fn run(context: &Context, args: cli::Run) -> Result<(), Failure> {
    let client = context.client()?;
    let format = if context.output.json { Format::Json } else { args.format };
    let timeout = args.timeout.clone();
    let asked = asked(&client, args).await?;
    show::checked_envelope(&asked)?;
    let id = asked.id.clone();
    let decided = waiting::until_decided(&client, context.output, asked, &timeout).await.map_err(|failure| match failure.exit {
        Exit::Expired | Exit::Unreachable => {
            failure.next(format!("`safeconduct run --id {id}` waits on and runs it; `safeconduct cancel {id}` takes it back"))
        }
        _ => failure,
    })?;
    let ready = waiting::granted(decided)?;
    if ready.state == "settled" {
        return Err(
            Failure::new("CLI-013", Exit::Error, format!("{} was run already", ready.id)).next(format!("`safeconduct show {}`", ready.id))
        );
    }
    let outcome = execute(&client, context.output, format, &ready.id).await?;
    context.output.note(format!("{}: {}", ready.id, show::outcome_text(&outcome)));
    match outcome {
        dto::Outcome::Executed { .. } => Ok(()),
        dto::Outcome::Failed { sqlstate, message } => {
            Err(Failure::new("RUN-007", Exit::Error, format!("the database refused it: {message}")).why(format!("SQLSTATE {sqlstate}")))
        }
        dto::Outcome::RefusedNotRun { why } => Err(Failure::new("RUN-008", Exit::Denied, "it was not run").why(why)),
        dto::Outcome::Unknown { why } => Err(Failure::new("RUN-006", Exit::Error, "whether it ran is not known")
            .why(why)
            .next("look at the data before you ask again; nothing runs twice by itself")),
    }
}

/// What is to be run: asked for just here, or earlier.
async fn asked(client: &Client, args: cli::Run) -> Result<dto::AccessRequest, Failure> {
    if let Some(id) = &args.id {
        return client.get(&format!("/access-requests/{}", super::access_request_id(id)?), &[]).await;
    }
    let ask = dto::Ask {
        resource: args.resource.unwrap_or_default(),
        what: dto::What::Sql { database: args.database, text: statement(&args.text)? },
        reason: args.reason.unwrap_or_default(),
        ticket: args.ticket,
        duration: args.duration.unwrap_or_else(|| USUAL.to_owned()),
        starts_at: None,
    };
    client.post("/access-requests", &ask).await
}

/// The SQL text: one argument, several joined by blanks, or standard input.
fn statement(words: &[String]) -> Result<String, Failure> {
    if words != ["-"] {
        return Ok(words.join(" "));
    }
    let mut text = String::new();
    std::io::stdin().lock().take(1024 * 1024).read_to_string(&mut text).map_err(|error| Failure::local("reading the statement", &error))?;
    Ok(text)
}

async fn execute(client: &Client, output: Output, format: Format, id: &str) -> Result<dto::Outcome, Failure> {
    let mut response = client.stream(&format!("/access-requests/{id}/execute")).await.map_err(|failure| match failure.exit {
        Exit::Unreachable => lost(id, failure),
        _ => failure,
    })?;
    let mut printer = Printer { output, format, columns: Vec::new(), rows: Vec::new(), headed: false };
    let mut pending: Vec<u8> = Vec::new();
    while let Some(part) = response.chunk().await.map_err(|error| lost(id, client.broken(&error)))? {
        pending.extend_from_slice(&part);
        while let Some(end) = pending.iter().position(|b| *b == b'\n') {
            let line: Vec<u8> = pending.drain(..=end).collect();
            let line: ResultLine = serde_json::from_slice(&line).map_err(|error| Failure::nonsense(error.to_string()))?;
            if let Some(outcome) = printer.print(line)? {
                return Ok(outcome);
            }
        }
        if pending.len() > LONGEST_LINE {
            return Err(Failure::nonsense("a line of results is too long"));
        }
    }
    Err(lost(id, Failure::nonsense("the results end without an outcome")))
}

/// The connection broke in the middle: the outcome is recorded, only not here.
fn lost(id: &str, failure: Failure) -> Failure {
    failure.next(format!("how it ended is recorded: `safeconduct show {id}`"))
}

/// Prints results as they come.
struct Printer {
    output: Output,
    format: Format,
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
    headed: bool,
}

impl Printer {
    /// Takes one line; the last one gives the outcome.
    fn print(&mut self, line: ResultLine) -> Result<Option<dto::Outcome>, Failure> {
        if self.format == Format::Json {
            self.output.json_line(&line)?;
        }
        match line {
            ResultLine::Columns { names } => {
                self.flush()?;
                if self.format == Format::Csv {
                    self.csv(names.iter().map(|name| Some(name.as_str())))?;
                }
                self.columns = names;
                self.headed = false;
            }
            ResultLine::Row { values } => match self.format {
                Format::Csv => self.csv(values.iter().map(Option::as_deref))?,
                Format::Table => {
                    self.rows.push(values.into_iter().map(|value| value.map_or_else(|| "∅".to_owned(), cell)).collect());
                    if self.rows.len() >= BATCH {
                        self.flush()?;
                    }
                }
                Format::Json => {}
            },
            ResultLine::Notice { severity, message } => self.output.note(format!("{severity}: {message}")),
            ResultLine::Complete { .. } => self.flush()?,
            ResultLine::Error { sqlstate, message } => {
                self.flush()?;
                self.output.note(format!("ERROR {sqlstate}: {message}"));
            }
            ResultLine::Outcome { result } => {
                self.flush()?;
                return Ok(Some(result));
            }
            ResultLine::Problem { problem } => {
                self.flush()?;
                return Err(problem.into());
            }
        }
        Ok(None)
    }

    fn flush(&mut self) -> Result<(), Failure> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let rows = std::mem::take(&mut self.rows);
        let columns: Vec<&str> = if self.headed { Vec::new() } else { self.columns.iter().map(String::as_str).collect() };
        self.headed = true;
        self.output.result(&columns, &rows)
    }

    /// On a terminal unprintable characters are escaped; in a file or pipe values stay as they are.
    fn csv<'a>(&self, values: impl Iterator<Item = Option<&'a str>>) -> Result<(), Failure> {
        let line = csv_line(values);
        if std::io::stdout().is_terminal() { self.output.line(line) } else { self.output.bytes(format!("{line}\r\n").as_bytes()) }
    }
}

/// RFC 4180; NULL is empty, the empty text is quoted.
fn csv_line<'a>(values: impl Iterator<Item = Option<&'a str>>) -> String {
    let field = |value: Option<&str>| match value {
        None => String::new(),
        Some(text) if text.is_empty() || text.contains([',', '"', '\n', '\r']) => format!("\"{}\"", text.replace('"', "\"\"")),
        Some(text) => text.to_owned(),
    };
    values.map(field).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_tells_null_from_empty() {
        assert_eq!(csv_line([Some("a"), None, Some(""), Some("b,\"c\"\n")].into_iter()), "a,,\"\",\"b,\"\"c\"\"\n\"");
    }

    #[test]
    fn several_words_are_one_statement() {
        assert_eq!(statement(&["select".into(), "1".into()]).unwrap(), "select 1");
    }
}
