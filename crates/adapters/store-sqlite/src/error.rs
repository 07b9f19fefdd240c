//! How failures of SQLite and refusals of our own become the port's errors.

use rusqlite::ErrorCode;
use safeconduct_app::ports::StoreError;

/// What this store refuses by itself.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("another process has the store open")]
    InUse,
    #[error("the file is a database of another program")]
    Foreign,
    #[error("the store has format {found}, this program knows {known}: run a newer program")]
    Newer { found: u32, known: u32 },
    #[error("the file system does not support write-ahead logging")]
    NoWal,
    #[error("an event of stream `{stream}` belongs to another sort of stream")]
    WrongStream { stream: String },
    #[error("the store has stopped")]
    Stopped,
    #[error("the transaction around it failed before its turn")]
    NotRun,
    #[error("the transaction was rolled back: {0}")]
    RolledBack(String),
    #[error("a number is out of range")]
    Range,
}

/// A refusal in the port's words: nothing was changed.
pub(crate) fn refused(refusal: Refusal) -> StoreError {
    StoreError::Unavailable(Box::new(refusal))
}

/// What SQLite says in the port's words. A damaged file is corrupt; all else may pass.
pub(crate) fn broken(cause: rusqlite::Error) -> StoreError {
    match cause.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => corrupt("the database file"),
        _ => StoreError::Unavailable(Box::new(cause)),
    }
}

pub(crate) fn corrupt(place: impl Into<String>) -> StoreError {
    StoreError::Corrupt { place: place.into() }
}

/// SQLite counts in `i64`.
pub(crate) fn number(value: u64) -> Result<i64, StoreError> {
    i64::try_from(value).map_err(|_| refused(Refusal::Range))
}

/// Counts in the file are never negative.
pub(crate) fn count(value: i64, place: &str) -> Result<u64, StoreError> {
    u64::try_from(value).map_err(|_| corrupt(place))
}
