//! Arguments of the administration verbs. Each asks for a change that somebody else approves.

use clap::{Args, Subcommand};

/// What every change takes.
#[derive(Debug, Args)]
pub struct Why {
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

/// Somebody, and why.
#[derive(Debug, Args)]
pub struct Named {
    /// Who; see `user list`
    pub name: String,
    #[command(flatten)]
    pub why: Why,
}

/// Somebody new.
#[derive(Debug, Args)]
pub struct Create {
    /// The name to sign in with
    pub name: String,
    /// How people write the name
    #[arg(long, value_name = "TEXT")]
    pub display_name: Option<String>,
    #[command(flatten)]
    pub why: Why,
}

/// What a token is for.
#[derive(Debug, Args)]
pub struct Scopes {
    /// Narrow its token to this; may be repeated. Without it the token may all that the workload may
    #[arg(long = "scope", value_name = "SCOPE", value_parser = ["read", "request", "ledger"])]
    pub scopes: Vec<String>,
}

/// A new workload.
#[derive(Debug, Args)]
pub struct CreateWorkload {
    #[command(flatten)]
    pub create: Create,
    #[command(flatten)]
    pub scopes: Scopes,
}

/// A workload that gets a new token.
#[derive(Debug, Args)]
pub struct NewToken {
    #[command(flatten)]
    pub named: Named,
    #[command(flatten)]
    pub scopes: Scopes,
}

/// The access request that was approved.
#[derive(Debug, Args)]
pub struct Approved {
    /// Id of your approved access request, `rq-…`
    pub id: String,
}

/// Somebody in a group.
#[derive(Debug, Args)]
pub struct Member {
    /// Which group; see `group list`
    pub group: String,
    /// Who; see `user list`
    pub name: String,
    #[command(flatten)]
    pub why: Why,
}

/// Who somebody is at an identity provider.
#[derive(Debug, Args)]
pub struct Unlink {
    /// Who; see `user list --json`
    pub name: String,
    /// The provider's issuer
    #[arg(long, value_name = "URL")]
    pub issuer: String,
    /// What the provider calls them
    #[arg(long, value_name = "TEXT")]
    pub subject: String,
    #[command(flatten)]
    pub why: Why,
}

/// People.
#[derive(Debug, Subcommand)]
pub enum User {
    /// List people and workloads
    #[command(alias = "ls")]
    List,
    /// Ask to create a person
    #[command(visible_alias = "add")]
    Create(Create),
    /// Ask to disable somebody: their grants and sessions end
    Disable(Named),
    /// Ask to enable somebody again
    Enable(Named),
    /// Ask to let somebody choose a new secret
    #[command(alias = "reset", alias = "reset-password")]
    ResetSecret(Named),
    /// Ask to undo somebody's link to an identity provider: sign-ins by it end
    Unlink(Unlink),
    /// Fetch, once, the code that an approved change made
    Code(Approved),
}

/// Groups.
#[derive(Debug, Subcommand)]
pub enum Group {
    /// List groups with their members
    #[command(alias = "ls")]
    List,
    /// Ask to add somebody
    Add(Member),
    /// Ask to remove somebody
    #[command(alias = "rm")]
    Remove(Member),
}

/// Workloads.
#[derive(Debug, Subcommand)]
pub enum Workload {
    /// List workloads
    #[command(alias = "ls")]
    List,
    /// Ask to create a workload
    #[command(visible_alias = "add")]
    Create(CreateWorkload),
    /// Ask to disable a workload
    Disable(Named),
    /// Ask to enable a workload again
    Enable(Named),
    /// Ask for a new token; the old one stops working
    #[command(alias = "reset", alias = "reset-token")]
    ResetSecret(NewToken),
    /// Fetch, once, the token that an approved change made
    Token(Approved),
}

/// Sign-ins and tokens.
#[derive(Debug, Subcommand)]
pub enum Token {
    /// List somebody's sign-ins and tokens; your own if no name is given
    #[command(alias = "ls")]
    List {
        /// Whose; see `user list`
        name: Option<String>,
    },
    /// End one, or all of somebody's
    Revoke {
        /// Whose it is
        name: String,
        /// Its id, `si-…`
        #[arg(required_unless_present = "all", conflicts_with = "all")]
        sign_in: Option<String>,
        /// End every one of theirs; of your own, every one but the one you use now
        #[arg(long)]
        all: bool,
    },
}

/// Keys that sign approvals.
#[derive(Debug, Subcommand)]
pub enum Key {
    /// List somebody's keys; your own if no name is given
    #[command(alias = "ls")]
    List {
        /// Whose; see `user list`
        name: Option<String>,
    },
    /// Ask to let somebody sign approvals with a key
    #[command(alias = "add", alias = "enroll")]
    Enrol(EnrolKey),
    /// Ask that what a key signed counts no longer
    Remove(RemoveKey),
    /// Print the roster that the holders of root keys would sign: who signs with which keys, in which groups, under the active policy
    Roster(DraftRoster),
}

/// A roster to be signed.
#[derive(Debug, Args)]
pub struct DraftRoster {
    /// Higher than that of every roster before it
    #[arg(long, value_name = "NUMBER")]
    pub epoch: u64,
    /// Another policy that may be in force, by its hash: the one that is to be applied next; may be repeated
    #[arg(long, value_name = "sha256:…")]
    pub policy: Vec<String>,
}

/// A key, and whose.
#[derive(Debug, Args)]
pub struct EnrolKey {
    /// Who will sign; see `user list`
    pub name: String,
    /// Their public key, a `.pub` file: ed25519 or ecdsa-sha2-nistp256, in a file or in a security key
    pub file: std::path::PathBuf,
    #[command(flatten)]
    pub why: Why,
}

/// A key that is enrolled.
#[derive(Debug, Args)]
pub struct RemoveKey {
    /// Whose it is
    pub name: String,
    /// `SHA256:…`, as `key list` and `ssh-keygen -l` print it
    pub fingerprint: String,
    #[command(flatten)]
    pub why: Why,
}

/// The clock.
#[derive(Debug, Subcommand)]
pub enum Clock {
    /// Ask to lift the freeze
    Confirm(Why),
}
