//! The hash tree in the file: tiles as they grow, and the hashes from which proofs are made.

use rusqlite::{Connection, OptionalExtension as _, params};
use safeconduct_app::ports::StoreError;
use safeconduct_ledger::{ComputeError, Frontier, HashReader, StoredHash, TileKind, TilePath, TreeHash, leaf_hash, tile};

use crate::error::{broken, corrupt, count, number};

const WIDTH: u64 = tile::TILE_WIDTH as u64;

/// Reads hashes out of a connection.
pub(crate) struct Hashes<'c>(pub(crate) &'c Connection);

impl HashReader for Hashes<'_> {
    type Error = StoreError;

    fn hashes(&self, level: u8, first: u64, count: usize) -> Result<Vec<TreeHash>, StoreError> {
        if let Some(tile) = tile_row(self.0, level, first / WIDTH)? {
            let offset = usize::try_from(first % WIDTH).unwrap_or(usize::MAX);
            return Ok(split(&tile).skip(offset).take(count).collect());
        }
        if level != 0 {
            return Ok(Vec::new());
        }
        let end = first.saturating_add(count as u64);
        let mut statement =
            self.0.prepare_cached("SELECT leaf_hash FROM entries WHERE idx >= ?1 AND idx < ?2 ORDER BY idx").map_err(broken)?;
        let rows = statement.query_map(params![number(first)?, number(end)?], |row| row.get::<_, Vec<u8>>(0)).map_err(broken)?;
        rows.map(|row| TreeHash::from_slice(&row.map_err(broken)?).ok_or_else(|| corrupt("a leaf hash"))).collect()
    }
}

/// How many entries there are.
pub(crate) fn size(connection: &Connection) -> Result<u64, StoreError> {
    let size = connection
        .prepare_cached("SELECT coalesce(max(idx) + 1, 0) FROM entries")
        .map_err(broken)?
        .query_row([], |row| row.get(0))
        .map_err(broken)?;
    count(size, "the index of the last entry")
}

/// The right edge of the tree, as the file has it. Checks the leaves that no full tile holds yet against their hashes.
pub(crate) fn frontier(connection: &Connection) -> Result<Frontier, StoreError> {
    let size = size(connection)?;
    let mut statement = connection.prepare("SELECT idx, leaf, leaf_hash FROM entries WHERE idx >= ?1").map_err(broken)?;
    let mut rows = statement.query([number(size / WIDTH * WIDTH)?]).map_err(broken)?;
    while let Some(row) = rows.next().map_err(broken)? {
        let (index, leaf, hash): (i64, Vec<u8>, Vec<u8>) = row.try_into().map_err(broken)?;
        if leaf_hash(&leaf).as_bytes().as_slice() != hash {
            return Err(corrupt(format!("ledger entry {index}")));
        }
    }
    known(safeconduct_ledger::frontier(&Hashes(connection), size))
}

/// Keeps a hash that tiles must hold from now on. The entries up to it are stored already.
pub(crate) fn keep(connection: &Connection, stored: &StoredHash) -> Result<(), StoreError> {
    let (tile, place) = (stored.index / WIDTH, stored.index % WIDTH);
    let hashes = if stored.level == 0 {
        if place + 1 != WIDTH {
            return Ok(());
        }
        let hashes = Hashes(connection).hashes(0, tile * WIDTH, usize::from(tile::TILE_WIDTH))?;
        if hashes.len() as u64 != WIDTH {
            return Err(corrupt(format!("the leaf hashes of tile {tile}")));
        }
        tile::encode_hashes(&hashes)
    } else {
        let mut hashes = tile_row(connection, stored.level, tile)?.unwrap_or_default();
        if hashes.len() as u64 != place * TreeHash::SIZE as u64 {
            return Err(corrupt(format!("tile {tile} of level {}", stored.level)));
        }
        hashes.extend_from_slice(stored.hash.as_bytes());
        hashes
    };
    connection
        .prepare_cached("INSERT INTO tiles (level, number, hashes) VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET hashes = excluded.hashes")
        .and_then(|mut statement| statement.execute(params![stored.level, number(tile).unwrap_or(i64::MAX), hashes]))
        .map_err(broken)?;
    Ok(())
}

/// A file of the published log, if the log has it.
pub(crate) fn file(connection: &Connection, path: &str) -> Result<Option<Vec<u8>>, StoreError> {
    let Some(path) = TilePath::parse(path) else { return Ok(None) };
    let end = path.first().saturating_add(u64::from(path.width()));
    let size = size(connection)?;
    match path.kind() {
        TileKind::Hashes { level } if end <= tile::hashes_at(level, size) => {
            known(tile::read_hash_tile(&Hashes(connection), &path)).map(Some)
        }
        TileKind::Entries if end <= size => {
            let mut statement =
                connection.prepare_cached("SELECT leaf FROM entries WHERE idx >= ?1 AND idx < ?2 ORDER BY idx").map_err(broken)?;
            let rows = statement.query_map(params![number(path.first())?, number(end)?], |row| row.get::<_, Vec<u8>>(0)).map_err(broken)?;
            let leaves = rows.collect::<Result<Vec<_>, _>>().map_err(broken)?;
            if leaves.len() != usize::from(path.width()) {
                return Err(corrupt(format!("the entries of {path}")));
            }
            tile::encode_bundle(&leaves).map(Some).map_err(|_| corrupt(format!("the entries of {path}")))
        }
        _ => Ok(None),
    }
}

pub(crate) fn inclusion_proof(connection: &Connection, index: u64, tree: u64) -> Result<Option<Vec<[u8; 32]>>, StoreError> {
    if tree > size(connection)? {
        return Ok(None);
    }
    proof(safeconduct_ledger::inclusion_proof(&Hashes(connection), index, tree))
}

pub(crate) fn consistency_proof(connection: &Connection, old: u64, new: u64) -> Result<Option<Vec<[u8; 32]>>, StoreError> {
    if new > size(connection)? {
        return Ok(None);
    }
    proof(safeconduct_ledger::consistency_proof(&Hashes(connection), old, new))
}

fn proof(computed: Result<Vec<TreeHash>, ComputeError<StoreError>>) -> Result<Option<Vec<[u8; 32]>>, StoreError> {
    match computed {
        Err(ComputeError::NotInTree { .. } | ComputeError::WrongSizes { .. }) => Ok(None),
        other => Ok(Some(known(other)?.iter().map(|hash| *hash.as_bytes()).collect())),
    }
}

fn known<T>(computed: Result<T, ComputeError<StoreError>>) -> Result<T, StoreError> {
    computed.map_err(|error| match error {
        ComputeError::Store(cause) => cause,
        other => corrupt(format!("the hash tree: {other}")),
    })
}

fn tile_row(connection: &Connection, level: u8, tile: u64) -> Result<Option<Vec<u8>>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT hashes FROM tiles WHERE level = ?1 AND number = ?2").map_err(broken)?;
    statement.query_row(params![level, number(tile)?], |row| row.get(0)).optional().map_err(broken)
}

fn split(tile: &[u8]) -> impl Iterator<Item = TreeHash> + '_ {
    tile.chunks_exact(TreeHash::SIZE).filter_map(TreeHash::from_slice)
}
