-- The ledger: one row per sequenced event. Append-only, also against accidents.
CREATE TABLE entries (
    idx       INTEGER PRIMARY KEY CHECK (idx >= 0),
    stream    TEXT NOT NULL,
    version   INTEGER NOT NULL CHECK (version >= 1),
    at        INTEGER NOT NULL,
    leaf      BLOB NOT NULL CHECK (length(leaf) <= 65535),
    leaf_hash BLOB NOT NULL CHECK (length(leaf_hash) = 32),
    UNIQUE (stream, version)
) STRICT;
CREATE TRIGGER entries_are_never_changed BEFORE UPDATE ON entries BEGIN SELECT raise(ABORT, 'entries are append-only'); END;
CREATE TRIGGER entries_are_never_removed BEFORE DELETE ON entries BEGIN SELECT raise(ABORT, 'entries are append-only'); END;
CREATE TRIGGER entries_have_no_gap BEFORE INSERT ON entries
WHEN NEW.idx <> (SELECT coalesce(max(idx) + 1, 0) FROM entries)
BEGIN SELECT raise(ABORT, 'the index of an entry follows the one before'); END;

-- What the entries commit to. A body may be erased with its key; it is never changed.
CREATE TABLE bodies (
    idx  INTEGER PRIMARY KEY REFERENCES entries (idx),
    key  BLOB NOT NULL CHECK (length(key) = 32),
    body TEXT NOT NULL
) STRICT;
CREATE TRIGGER bodies_are_never_changed BEFORE UPDATE ON bodies BEGIN SELECT raise(ABORT, 'bodies are erased, never changed'); END;

-- Tiles of hashes: full ones of level 0, all of the levels above. The rest of level 0 is in `entries`.
CREATE TABLE tiles (
    level  INTEGER NOT NULL CHECK (level BETWEEN 0 AND 8),
    number INTEGER NOT NULL CHECK (number >= 0),
    hashes BLOB NOT NULL CHECK (length(hashes) BETWEEN 32 AND 8192 AND length(hashes) % 32 = 0),
    PRIMARY KEY (level, number)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER tiles_only_grow BEFORE UPDATE ON tiles
WHEN substr(NEW.hashes, 1, length(OLD.hashes)) <> OLD.hashes
BEGIN SELECT raise(ABORT, 'tiles only grow'); END;
CREATE TRIGGER tiles_are_never_removed BEFORE DELETE ON tiles BEGIN SELECT raise(ABORT, 'tiles only grow'); END;

CREATE TABLE checkpoints (
    size INTEGER PRIMARY KEY CHECK (size >= 0),
    note TEXT NOT NULL
) STRICT;

-- Read tables, made from events in the same transaction.
CREATE TABLE access (
    id        TEXT PRIMARY KEY,
    requester TEXT NOT NULL,
    resource  TEXT NOT NULL,
    state     TEXT NOT NULL,
    exact     INTEGER NOT NULL,
    asked_at  INTEGER NOT NULL,
    open      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX access_newest ON access (asked_at DESC, id DESC);
CREATE INDEX access_of_requester ON access (requester, asked_at DESC, id DESC);
CREATE INDEX access_open ON access (asked_at DESC, id DESC) WHERE open = 1;

CREATE TABLE sessions (
    id        TEXT PRIMARY KEY,
    principal TEXT NOT NULL,
    resource  TEXT NOT NULL,
    opened_at INTEGER NOT NULL,
    closed_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX sessions_newest ON sessions (opened_at DESC, id DESC);
CREATE INDEX sessions_live ON sessions (opened_at DESC, id DESC) WHERE closed_at IS NULL;

-- Small mutable values, how far readers have come, and the time high-water mark.
CREATE TABLE kv (
    kind  TEXT NOT NULL,
    key   TEXT NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (kind, key)
) STRICT, WITHOUT ROWID;
CREATE TABLE cursors (
    reader TEXT PRIMARY KEY,
    idx    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE high_water (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    at  INTEGER NOT NULL
) STRICT;
