//! The port through which a resource's server is asked for its own statistics: how large tables are, before anybody approves.

use safeconduct_model::Resource;

use crate::ports::BoxFuture;

/// Asks servers how large tables are. Nothing but names goes there, as values that no statement is made of.
pub trait Statistics: Send + Sync + 'static {
    /// What the server's catalog says of each name, in the order of `names`: every relation of that name in the schemas given with it, as far
    /// as sessions of the resource could use it. Reads and changes nothing; what is asked is the gateway's own text, by the gateway's own login.
    ///
    /// Cancellation: a dropped future ends the connection; the server gives up within a second.
    ///
    /// # Errors
    /// [`Unsaid`] if the server does not say, soon.
    fn sizes<'a>(
        &'a self,
        resource: &'a Resource,
        database: &'a str,
        names: &'a [RelationName],
    ) -> BoxFuture<'a, Result<Vec<Vec<Relation>>, Unsaid>>;
}

/// A name and where to look for it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelationName {
    /// The schemas it may be in, in the order of the search path; one where a statement says which.
    pub schemas: Vec<String>,
    pub name: String,
}

/// What the catalog says of one relation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation {
    /// The one of the schemas it is in.
    pub schema: String,
    pub kind: RelationKind,
    /// How many tables hold its rows: itself, its partitions, what inherits from it.
    pub tables: u64,
    /// Those of them that the server never counted.
    pub uncounted: u64,
    /// Rows of the others, as of the last count.
    pub rows: u64,
}

/// What sort of relation it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelationKind {
    /// A table, whatever it is made of: partitions, a foreign server's rows, a view's that are kept.
    Table,
    View,
    /// A sequence, an index, a type.
    Other,
}

/// The server did not say, and why: in words for approvers, without anything only the gateway may know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unsaid(pub String);
