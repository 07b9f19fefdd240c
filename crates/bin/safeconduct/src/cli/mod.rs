//! The command line: every verb with its arguments and help. Decides what is asked, does none of it.

mod administration;
mod ask;
mod evidence;

pub use administration::*;
pub use ask::*;
pub use evidence::*;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Just-in-time action approval: nobody holds standing privilege.
#[derive(Debug, Parser)]
#[command(
    name = "safeconduct",
    version,
    about = "Just-in-time action approval: ask, get it approved, do exactly that",
    after_help = "Exit status: 0 done, 1 error, 2 usage, 3 denied, 4 expired or timed out, 5 not signed in, 6 server unreachable.\n\
        Data goes to standard output, everything else to standard error.",
    disable_help_subcommand = true,
    max_term_width = 100
)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub verb: Verb,
}

/// What every verb takes.
#[derive(Clone, Debug, Default, Args)]
pub struct Global {
    /// Print JSON for machines
    #[arg(long, global = true)]
    pub json: bool,
    /// Use this server instead of the one signed in to
    #[arg(long, global = true, value_name = "URL", env = "SAFECONDUCT_SERVER", hide_env_values = true)]
    pub server: Option<String>,
    /// Trust only this certificate authority (PEM)
    #[arg(long, global = true, value_name = "FILE", env = "SAFECONDUCT_CA", hide_env_values = true)]
    pub ca: Option<PathBuf>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Run a node: PostgreSQL door and API
    Serve(crate::serve::Args),
    /// Run a throwaway demonstration with everything in it
    Demo(crate::demo::Args),

    /// Sign in to a server with a password or by an identity provider
    #[command(alias = "login")]
    SignIn(SignIn),
    /// End the sign-in and forget its token
    #[command(alias = "logout")]
    SignOut,
    /// Show who is signed in, where
    Whoami,

    /// List what I may ask for
    #[command(alias = "resource")]
    Resources,
    /// Ask for operations on a resource for a time
    #[command(alias = "ask")]
    Request(Request),
    /// Ask for one exact action, wait, run it once, show the result
    Run(Run),
    /// List access requests
    Requests(Requests),
    /// Show an access request or grant with everything known about it
    Show(Show),
    /// Approve an access request, after seeing what exactly
    Approve(Approve),
    /// Deny an access request
    Deny(Deny),
    /// Take an own access request back
    #[command(alias = "withdraw")]
    Cancel(Id),

    /// List grants
    #[command(alias = "grant")]
    Grants(Grants),
    /// Give a grant back
    Release(Id),
    /// End a grant at once, with its sessions
    Revoke(WithReason),
    /// Ask that a grant last longer
    Extend(Extend),
    /// Open a client through the door with a short-lived secret
    Connect(Connect),

    /// List sessions
    #[command(alias = "session")]
    Sessions(Sessions),
    /// End a session at once
    Kill(WithReason),
    /// Show what happened in a session
    Replay(Replay),

    /// Write the receipt of an access request: a file that proves, offline, who asked, who approved and what came of it
    Receipt(Receipt),
    /// Read and verify the ledger
    #[command(subcommand)]
    Ledger(Ledger),
    /// Check, test, explain, compare and apply policy
    #[command(subcommand)]
    Policy(Policy),

    /// Manage people
    #[command(subcommand)]
    User(User),
    /// Manage groups
    #[command(subcommand)]
    Group(Group),
    /// Manage workloads
    #[command(subcommand)]
    Workload(Workload),
    /// List and end sign-ins and tokens
    #[command(subcommand)]
    Token(Token),
    /// Manage the keys that people sign approvals with
    #[command(subcommand)]
    Key(Key),
    /// Confirm the clock after the gateway froze because it was behind
    #[command(subcommand)]
    Clock(Clock),

    /// Show how the gateway stands
    Status,
    /// Check this machine's gateway and the servers behind it, and say what to do
    Doctor(crate::verbs::doctor::Doctor),
    /// Copy store and recordings of this machine's gateway, which may run meanwhile
    Backup(crate::serve::backup::BackUp),
    /// Put a backup back where this machine's gateway will find it; every grant in it ends at the next start
    Restore(crate::serve::backup::Restore),
    /// Print completions for a shell
    Completions(Completions),
    /// Print the version
    Version,
}

/// Arguments of `sign-in`.
#[derive(Debug, Args)]
pub struct SignIn {
    /// Name to sign in as
    pub name: Option<String>,
    /// Read the password from this file, `-` for standard input
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// First choose a password, with the one-time code in this file (`-` asks for it on the terminal)
    #[arg(long, value_name = "FILE")]
    pub code_file: Option<PathBuf>,
    /// Sign in by this identity provider: prints an address to open in a browser on this machine. Said once, it is remembered
    #[arg(long, value_name = "NAME", conflicts_with_all = ["name", "password_file", "code_file"])]
    pub provider: Option<String>,
}

/// An access request or grant.
#[derive(Debug, Args)]
pub struct Id {
    /// Its id, `rq-…` or `gr-…`
    pub id: String,
}

/// Something, and why.
#[derive(Debug, Args)]
pub struct WithReason {
    /// Its id
    pub id: String,
    /// Why, for the ledger and for those concerned
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
}

/// Arguments of `completions`.
#[derive(Debug, Args)]
pub struct Completions {
    /// Which shell
    pub shell: clap_complete::Shell,
}
