//! The database file: who may open it, its settings, and the numbered migrations that make its tables.
//!
//! Refuses a file that a newer program wrote, a file of another program, and a second process on the same file.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use rusqlite::{Connection, OpenFlags};
use safeconduct_app::ports::StoreError;

use crate::error::{Refusal, broken, refused};

/// Marks the file as ours: "SafC".
const APPLICATION_ID: i64 = 0x5361_6643;

/// Room that must be there for more events to be taken.
const ROOM_BYTES: usize = 64 * 1024;

/// What turns version `n` into version `n + 1`. Never edited once released, only added to.
const MIGRATIONS: [&str; 2] = [include_str!("migrations/0001_first.sql"), include_str!("migrations/0002_sessions_of_principal.sql")];

/// Creates the file if need be and keeps every other process out for as long as the lock lives.
pub(crate) fn claim(path: &Path) -> Result<File, StoreError> {
    if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty() && !directory.exists()) {
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(unavailable)?;
    }
    let mut lock_path = path.as_os_str().to_owned();
    lock_path.push(".lock");
    let lock = private(&PathBuf::from(lock_path)).map_err(unavailable)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(refused(Refusal::InUse)),
        Err(TryLockError::Error(cause)) => return Err(unavailable(cause)),
    }
    // SQLite gives its -wal and -shm files the mode of the main file.
    drop(private(path).map_err(unavailable)?);
    Ok(lock)
}

/// Opens for reading and writing, sets durability and brings the tables up to date.
pub(crate) fn open_writer(path: &Path) -> Result<Connection, StoreError> {
    let mut connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX).map_err(broken)?;
    settle(&connection)?;
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).map_err(broken)?;
    if mode != "wal" {
        return Err(refused(Refusal::NoWal));
    }
    // FULL syncs the log at every commit: `Ok` means the power may fail. Erased bodies are overwritten.
    connection.execute_batch("PRAGMA synchronous = FULL; PRAGMA secure_delete = ON;").map_err(broken)?;
    migrate(&mut connection)?;
    Ok(connection)
}

/// Opens for reading only.
pub(crate) fn open_reader(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(broken)?;
    settle(&connection)?;
    connection.execute_batch("PRAGMA query_only = ON;").map_err(broken)?;
    Ok(connection)
}

fn settle(connection: &Connection) -> Result<(), StoreError> {
    connection.set_prepared_statement_cache_capacity(64);
    connection
        .execute_batch("PRAGMA busy_timeout = 5000; PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF; PRAGMA temp_store = MEMORY;")
        .map_err(broken)
}

fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).map_err(broken)?;
    let id: i64 = transaction.query_row("PRAGMA application_id", [], |row| row.get(0)).map_err(broken)?;
    let tables: i64 = transaction.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(broken)?;
    if id != APPLICATION_ID && (id != 0 || tables != 0) {
        return Err(refused(Refusal::Foreign));
    }
    let version = if tables == 0 {
        transaction
            .execute_batch("CREATE TABLE schema_version (version INTEGER NOT NULL) STRICT; INSERT INTO schema_version VALUES (0);")
            .map_err(broken)?;
        0
    } else {
        transaction.query_row("SELECT version FROM schema_version", [], |row| row.get::<_, u32>(0)).map_err(broken)?
    };
    let known = u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX);
    if version > known {
        return Err(refused(Refusal::Newer { found: version, known }));
    }
    for migration in MIGRATIONS.iter().skip(version as usize) {
        transaction.execute_batch(migration).map_err(broken)?;
    }
    transaction.execute("UPDATE schema_version SET version = ?1", [known]).map_err(broken)?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID).map_err(broken)?;
    transaction.commit().map_err(broken)
}

/// Opens or makes a file that only its owner may read.
fn private(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    let mode = file.metadata()?.permissions().mode();
    if mode & 0o077 != 0 {
        file.set_permissions(fs::Permissions::from_mode(mode & 0o700))?;
    }
    Ok(file)
}

/// Whether a file of some size can be written to disk here.
pub(crate) fn try_room(path: &Path) -> Result<(), StoreError> {
    let tried = private(path).and_then(|mut file| {
        io::Write::write_all(&mut file, &[0; ROOM_BYTES])?;
        file.sync_data()
    });
    // What was left by a crash, or could be written in part, is in the way of nobody.
    tried.and(fs::remove_file(path)).map_err(unavailable)
}

pub(crate) fn unavailable(cause: io::Error) -> StoreError {
    StoreError::Unavailable(Box::new(cause))
}
