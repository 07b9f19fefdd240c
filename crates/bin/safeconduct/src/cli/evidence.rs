//! Arguments of the verbs about sessions, the ledger and policy.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::{Page, any_operation};

/// Arguments of `sessions`.
#[derive(Debug, Args)]
pub struct Sessions {
    /// Only those still open
    #[arg(long)]
    pub live: bool,
    /// Only of this person or workload
    #[arg(long, value_name = "NAME")]
    pub principal: Option<String>,
    #[command(flatten)]
    pub page: Page,
}

/// Arguments of `replay`.
#[derive(Debug, Args)]
pub struct Replay {
    /// The session's id, `se-…`
    pub id: String,
}

/// The ledger.
#[derive(Debug, Subcommand)]
pub enum Ledger {
    /// Verify the whole ledger with the key that was pinned at sign-in, or an export
    Verify(LedgerVerify),
    /// Write the ledger to a directory that can be verified offline
    Export(LedgerExport),
    /// Show the newest entries
    Tail(LedgerTail),
    /// Fetch the newest checkpoint, verify it and that it extends the newest one seen
    Checkpoint,
    /// Fetch a proof that an entry is in the ledger, and verify it
    Prove(LedgerProve),
}

/// Arguments of `ledger verify`.
#[derive(Debug, Args)]
pub struct LedgerVerify {
    /// Verify this export instead of the server's ledger
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Verify this receipt instead; see `receipt`
    #[arg(long, value_name = "FILE", conflicts_with_all = ["dir", "checkpoint"])]
    pub receipt: Option<PathBuf>,
    /// Root keys, one line of a `.pub` file each: in the receipt, signatures count only by keys of a roster that enough of them signed
    #[arg(long, value_name = "FILE", requires = "receipt")]
    pub roots: Option<PathBuf>,
    /// How many root keys must sign; more than half if it is not said
    #[arg(long, value_name = "N", requires = "roots")]
    pub needed: Option<usize>,
    /// The ledger's public key, if not the pinned one
    #[arg(long, value_name = "KEY")]
    pub vkey: Option<String>,
    /// A checkpoint remembered from earlier; may be repeated
    #[arg(long, value_name = "FILE")]
    pub checkpoint: Vec<PathBuf>,
}

/// Arguments of `ledger export`.
#[derive(Debug, Args)]
pub struct LedgerExport {
    /// Where to; made if it does not exist, must be empty
    pub dir: PathBuf,
}

/// Arguments of `ledger tail`.
#[derive(Debug, Args)]
pub struct LedgerTail {
    /// Index of the first entry; the newest ones if absent
    #[arg(long, value_name = "INDEX")]
    pub from: Option<u64>,
    /// How many
    #[arg(long, short = 'n', value_name = "N", default_value_t = 20)]
    pub limit: u32,
    /// Go on as entries arrive
    #[arg(long, short = 'f')]
    pub follow: bool,
}

/// Arguments of `ledger prove`.
#[derive(Debug, Args)]
pub struct LedgerProve {
    /// Index of the entry
    pub index: u64,
    /// Write the proof to this file
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// Policy.
#[derive(Debug, Subcommand)]
pub enum Policy {
    /// Check a bundle: every mistake with file, line and column
    Check(PolicyDir),
    /// Run a bundle's own tests
    Test(PolicyDir),
    /// Explain why policy answers as it does, and what would have to be true
    Explain(PolicyExplain),
    /// Show what a bundle would change
    Plan(PolicyPlan),
    /// Ask that a bundle become the policy
    Apply(PolicyApply),
    /// Show how statements are understood; one per line
    Facts(PolicyFacts),
}

/// A bundle.
#[derive(Debug, Args)]
pub struct PolicyDir {
    /// The bundle's directory
    pub dir: PathBuf,
}

/// Arguments of `policy explain`.
#[derive(Debug, Args)]
pub struct PolicyExplain {
    /// What would be asked for; see `resources`
    pub resource: String,
    /// Operations that would be asked for together, such as `read` or `read,write`; each alone if absent
    #[arg(long = "operation", short = 'o', value_name = "OPERATION", value_delimiter = ',', value_parser = any_operation(), hide_possible_values = true)]
    pub operations: Vec<String>,
    /// Who would ask; yourself if absent
    #[arg(long = "as", value_name = "NAME")]
    pub principal: Option<String>,
    /// How long would be asked for
    #[arg(long = "for", value_name = "TIME")]
    pub duration: Option<String>,
    /// Ask about one exact action instead of a time
    #[arg(long)]
    pub exact: bool,
    /// A statement to take facts from; what it needs is added to the operations
    #[arg(long, value_name = "SQL")]
    pub text: Option<String>,
    /// The words that would be said
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// The ticket that would be named
    #[arg(long, value_name = "TEXT")]
    pub ticket: Option<String>,
    /// When it would be (2026-11-22T14:05:00Z); at this moment if absent
    #[arg(long, value_name = "TIME")]
    pub at: Option<String>,
    /// As if SCIM said this of who asks, such as `costCenter=4711`
    #[arg(long = "attribute", value_name = "NAME=VALUE")]
    pub attributes: Vec<String>,
    /// As if a claim of the sign-in said this
    #[arg(long = "claim", value_name = "NAME=VALUE")]
    pub claims: Vec<String>,
}

/// Arguments of `policy plan`.
#[derive(Debug, Args)]
pub struct PolicyPlan {
    /// The new bundle's directory
    pub dir: PathBuf,
    /// Compare with this bundle, offline, instead of the server's policy
    #[arg(long, value_name = "DIR")]
    pub against: Option<PathBuf>,
}

/// Arguments of `policy apply`.
#[derive(Debug, Args)]
pub struct PolicyApply {
    /// The new bundle's directory
    pub dir: PathBuf,
    /// Why; approvers see it as your words
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// Wait until it is decided
    #[arg(long)]
    pub wait: bool,
    /// Give up waiting after this long
    #[arg(long, value_name = "TIME", default_value = "15m")]
    pub timeout: String,
}

/// Arguments of `policy facts`.
#[derive(Debug, Args)]
pub struct PolicyFacts {
    /// What sort of statements
    #[arg(long, value_enum, default_value = "postgres")]
    pub kind: Kind,
    /// A file, or `-` for standard input
    #[arg(default_value = "-")]
    pub file: PathBuf,
}

/// Sorts of statements that can be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    Postgres,
}

/// Arguments of `receipt`.
#[derive(Debug, Args)]
pub struct Receipt {
    /// Its id, `rq-…` or `gr-…`
    pub id: String,
    /// Write it here instead of to standard output
    #[arg(long, value_name = "FILE")]
    pub out: Option<std::path::PathBuf>,
}
