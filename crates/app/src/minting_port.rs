//! The port through which login roles are made at a resource's server, changed and retired.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use safeconduct_lifecycle::Retirement;
use safeconduct_model::{Resource, Timestamp};
use zeroize::Zeroizing;

use crate::ports::BoxFuture;

/// Makes and unmakes login roles. Every call may be repeated; none leaves a role with more than it was asked for.
pub trait Minting: Send + Sync + 'static {
    /// Makes the role with exactly these rights. Its password is made here, and only what checks it goes to the server.
    ///
    /// # Errors
    /// [`MintingError`]; the role may exist all the same and must be retired.
    fn make<'a>(&'a self, role: &'a Role, rights: &'a Rights) -> BoxFuture<'a, Result<Login, MintingError>>;

    /// Takes from the role what is only in `from` and gives it what is only in `to`, at once or not at all.
    ///
    /// # Errors
    /// [`MintingError`]; which of the two it has is then not known.
    fn change<'a>(&'a self, role: &'a Role, from: &'a Rights, to: &'a Rights) -> BoxFuture<'a, Result<(), MintingError>>;

    /// Ends sign-in, then connections, then rights and ownership, then the role; and has the server refuse the retired login.
    ///
    /// # Errors
    /// [`MintingError`]: it is not proved and must be tried again.
    fn retire<'a>(&'a self, role: &'a Role, login: Option<&'a Login>) -> BoxFuture<'a, Result<Retirement, MintingError>>;

    /// Names of all roles at the server that are named like those of sessions.
    ///
    /// # Errors
    /// [`MintingError`] when the server does not say.
    fn found<'a>(&'a self, resource: &'a Arc<Resource>) -> BoxFuture<'a, Result<BTreeSet<String>, MintingError>>;
}

/// A login role of one session.
#[derive(Clone, Debug)]
pub struct Role {
    pub name: String,
    pub resource: Arc<Resource>,
    /// Where objects are granted.
    pub database: String,
}

/// What signs in as a role.
#[derive(Clone)]
pub struct Login {
    pub role: String,
    pub password: Zeroizing<String>,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Login({})", self.role)
    }
}

/// What a role may do: the union of what grants give.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// Group roles it is a member of.
    pub roles: BTreeSet<String>,
    /// What narrowed grants give, on exactly these objects.
    pub objects: BTreeMap<Object, BTreeSet<Privilege>>,
    /// When sign-in ends by itself. Sessions are ended by other means.
    pub until: Timestamp,
}

/// Something that rights are granted on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Object {
    /// One table; without a schema the first of that name in the search path.
    Table {
        schema: Option<String>,
        name: String,
    },
    /// Every table that is in the schema when it is granted.
    TablesIn {
        schema: String,
    },
    Schema {
        name: String,
    },
}

/// What may be done to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Privilege {
    Usage,
    Create,
    Select,
    Insert,
    Update,
    Delete,
}

/// Why a role is not as it should be. What the server said is for the log.
#[derive(Debug, thiserror::Error)]
pub enum MintingError {
    #[error("the gateway's own account can't reach the server")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the server did not do it ({sqlstate}: {message})")]
    Refused { sqlstate: String, message: String },
    /// The probe signed in, or could not be made.
    #[error("the retired login is not proved to be refused: {0}")]
    NotProved(String),
}
