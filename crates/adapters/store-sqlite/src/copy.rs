//! A consistent copy of a store that is in use: one read transaction, whatever is written meanwhile.
//!
//! Takes no lock that the gateway needs, and refuses to write over anything.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use safeconduct_app::ports::{StoreError, TreeHead};
use safeconduct_model::Timestamp;

use crate::{
    error::broken,
    queries,
    schema::{open_reader, unavailable},
    sequence::{self, Sequence},
    writer,
};

/// What a store holds.
#[derive(Clone, Debug)]
pub struct Contents {
    pub head: TreeHead,
    /// The newest signed checkpoint in it.
    pub checkpoint: Option<String>,
    /// The latest effective time in it.
    pub high_water: Option<Timestamp>,
}

/// Copies the store in `from` to the new file `to`, and reads the copy.
///
/// # Errors
/// [`StoreError::Unavailable`] if one can't be read or the other can't be written, [`StoreError::Corrupt`] if the copy does not fit together.
pub fn copy(from: &Path, to: &Path) -> Result<Contents, StoreError> {
    if !from.is_file() {
        return Err(unavailable(std::io::Error::new(std::io::ErrorKind::NotFound, format!("`{}` is no store", from.display()))));
    }
    if to.exists() {
        return Err(unavailable(std::io::Error::new(std::io::ErrorKind::AlreadyExists, format!("`{}` exists", to.display()))));
    }
    let source = open_reader(from)?;
    // Writes nothing to the store itself.
    source.execute_batch("PRAGMA query_only = OFF;").map_err(broken)?;
    source.execute("VACUUM INTO ?1", [to.to_string_lossy()]).map_err(broken)?;
    drop(source);
    fs::set_permissions(to, fs::Permissions::from_mode(0o600)).map_err(unavailable)?;
    fs::File::open(to).and_then(|file| file.sync_all()).map_err(unavailable)?;
    contents(to)
}

/// Checks the store in a file, which may be in use, and says what it holds.
///
/// # Errors
/// As [`copy`].
pub fn contents(path: &Path) -> Result<Contents, StoreError> {
    let connection = open_reader(path)?;
    let whole: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(broken)?;
    if whole != "ok" {
        return Err(StoreError::Corrupt { place: format!("`{}`: {whole}", path.display()) });
    }
    let head = writer::head(&Sequence::read(&connection)?);
    Ok(Contents { head, checkpoint: queries::checkpoint(&connection)?, high_water: sequence::high_water(&connection)? })
}
