//! Arguments of the verbs about access requests, grants and doors.

use clap::{Args, ValueEnum, builder::PossibleValuesParser};
use safeconduct_model::Operation;

/// Operations that may be held for a time: a typing mistake is found here, with what was meant.
fn held() -> PossibleValuesParser {
    let held = |operation: &Operation| !operation.is_administration() && *operation != Operation::Unknown;
    PossibleValuesParser::new(Operation::ALL.into_iter().filter(held).map(Operation::name))
}

/// Every operation.
pub fn any_operation() -> PossibleValuesParser {
    PossibleValuesParser::new(Operation::ALL.map(Operation::name))
}

/// Arguments of `request`.
#[derive(Debug, Args)]
pub struct Request {
    /// What to have access to; see `resources`
    pub resource: String,
    /// Operations to hold, such as `read` or `read,write`; may be repeated
    #[arg(long = "operation", short = 'o', value_name = "OPERATION", value_delimiter = ',', value_parser = held())]
    pub operations: Vec<String>,
    /// How long, once it starts: 30m, 1h30m, at most 7d
    #[arg(long = "for", value_name = "TIME")]
    pub duration: Option<String>,
    /// Why; approvers see it as your words
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// Ticket it belongs to
    #[arg(long, value_name = "TEXT")]
    pub ticket: Option<String>,
    /// Not before this time (2026-11-22T14:05:00Z)
    #[arg(long, value_name = "TIME")]
    pub starts_at: Option<String>,
    /// Only these parts: database=NAME, schema=NAME or table=SCHEMA.NAME; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub narrow: Vec<String>,
    /// Take operations, time and bounds from an earlier access request or grant
    #[arg(long, value_name = "ID")]
    pub like: Option<String>,
    /// Wait until it is decided
    #[arg(long)]
    pub wait: bool,
    /// Give up waiting after this long
    #[arg(long, value_name = "TIME", default_value = "15m")]
    pub timeout: String,
    /// Only show what policy would say; ask nothing
    #[arg(long, conflicts_with_all = ["wait", "like"])]
    pub preview: bool,
}

/// Arguments of `run`.
#[derive(Debug, Args)]
pub struct Run {
    /// Where to run it
    #[arg(required_unless_present = "id")]
    pub resource: Option<String>,
    /// Run what was asked for before: an approved access request that was not run yet
    #[arg(long, value_name = "ID", conflicts_with_all = ["resource", "reason", "ticket", "database", "duration", "text"])]
    pub id: Option<String>,
    /// Why; approvers see it as your words
    #[arg(long, value_name = "TEXT", required_unless_present = "id")]
    pub reason: Option<String>,
    /// Ticket it belongs to
    #[arg(long, value_name = "TEXT")]
    pub ticket: Option<String>,
    /// Database, if not the resource's usual one
    #[arg(long, value_name = "NAME")]
    pub database: Option<String>,
    /// How long the approval may be used, 15m if not given
    #[arg(long = "for", value_name = "TIME")]
    pub duration: Option<String>,
    /// Give up waiting for approval after this long
    #[arg(long, value_name = "TIME", default_value = "15m")]
    pub timeout: String,
    /// How to print the result
    #[arg(long, value_enum, default_value = "table")]
    pub format: Format,
    /// The SQL text, after `--`; `-` reads it from standard input
    #[arg(last = true, required_unless_present = "id", value_name = "SQL")]
    pub text: Vec<String>,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Table,
    Csv,
    Json,
}

/// Arguments of `requests`.
#[derive(Debug, Args)]
pub struct Requests {
    /// Those I asked for (default)
    #[arg(long, conflicts_with_all = ["to_approve", "all"])]
    pub mine: bool,
    /// Those I may approve
    #[arg(long, conflicts_with = "all")]
    pub to_approve: bool,
    /// All I may see
    #[arg(long)]
    pub all: bool,
    /// Only in this state, such as pending or active
    #[arg(long, value_name = "STATE")]
    pub state: Option<String>,
    #[command(flatten)]
    pub page: Page,
}

/// A part of a long list.
#[derive(Debug, Args)]
pub struct Page {
    /// Only older than this id
    #[arg(long, value_name = "ID")]
    pub before: Option<String>,
    /// At most this many
    #[arg(long, short = 'n', value_name = "N", default_value_t = 50)]
    pub limit: u32,
    /// Print only the ids, one a line, for another command: `approve $(requests --to-approve --ids -n 1)`
    #[arg(long)]
    pub ids: bool,
}

/// Arguments of `show`.
#[derive(Debug, Args)]
pub struct Show {
    /// Its id, `rq-…` or `gr-…`
    pub id: String,
    /// Wait until it is decided
    #[arg(long)]
    pub wait: bool,
    /// Give up waiting after this long
    #[arg(long, value_name = "TIME", default_value = "15m")]
    pub timeout: String,
}

/// Arguments of `approve`.
#[derive(Debug, Args)]
pub struct Approve {
    /// Its id, `rq-…`
    pub id: String,
    /// Do not ask; only together with --digest
    #[arg(long, requires = "digest")]
    pub yes: bool,
    /// Approve only what has exactly this digest
    #[arg(long, value_name = "sha256:…")]
    pub digest: Option<String>,
    /// Words for the requester and the ledger
    #[arg(long, value_name = "TEXT")]
    pub comment: Option<String>,
    /// Sign with this key: a private key, or the `.pub` file of one that an agent or a security key holds
    #[arg(long, value_name = "FILE")]
    pub key: Option<std::path::PathBuf>,
}

/// Arguments of `deny`.
#[derive(Debug, Args)]
pub struct Deny {
    /// Its id, `rq-…`
    pub id: String,
    /// Why not; the requester sees it
    #[arg(long, value_name = "TEXT")]
    pub comment: String,
    /// Sign with this key, as for `approve`
    #[arg(long, value_name = "FILE")]
    pub key: Option<std::path::PathBuf>,
}

/// Arguments of `grants`.
#[derive(Debug, Args)]
pub struct Grants {
    /// All I may see, not only mine
    #[arg(long)]
    pub all: bool,
    /// Also those that have ended
    #[arg(long)]
    pub ended: bool,
    #[command(flatten)]
    pub page: Page,
}

/// Arguments of `extend`.
#[derive(Debug, Args)]
pub struct Extend {
    /// Its id, `gr-…`
    pub id: String,
    /// How much longer
    #[arg(long = "for", value_name = "TIME")]
    pub by: String,
    /// Why
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// Wait until it is decided
    #[arg(long)]
    pub wait: bool,
    /// Give up waiting after this long
    #[arg(long, value_name = "TIME", default_value = "15m")]
    pub timeout: String,
}

/// Arguments of `connect`.
#[derive(Debug, Args)]
pub struct Connect {
    /// What to connect to; a grant must be live
    pub resource: String,
    /// Database, if not the resource's usual one
    #[arg(long, value_name = "NAME")]
    pub database: Option<String>,
    /// Write the files and print how to use them instead of starting psql
    #[arg(long)]
    pub print: bool,
    /// Arguments for the client, after `--`
    #[arg(last = true, value_name = "ARGUMENT")]
    pub arguments: Vec<std::ffi::OsString>,
}
