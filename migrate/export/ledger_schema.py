"""The ledger's tables. `PRAGMA user_version` is the schema's version."""

SCHEMA_VERSION = 3

SCHEMA = """
CREATE TABLE archive (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE runs (
    id INTEGER PRIMARY KEY,
    started TEXT NOT NULL,
    ended TEXT,
    host TEXT NOT NULL,
    pid INTEGER NOT NULL,
    options TEXT NOT NULL,
    outcome TEXT NOT NULL DEFAULT 'running',
    listing_complete INTEGER NOT NULL DEFAULT 0,
    progress TEXT NOT NULL DEFAULT '{}',
    result TEXT
);

CREATE TABLE objects (
    id INTEGER PRIMARY KEY,
    key BLOB NOT NULL,
    version_id TEXT NOT NULL DEFAULT '',
    is_latest INTEGER NOT NULL DEFAULT 1,
    delete_marker INTEGER NOT NULL DEFAULT 0,
    state TEXT NOT NULL
        CHECK (state IN ('listed', 'archived', 'fetched', 'verified', 'quarantined', 'gone')),
    -- what the source says
    size INTEGER NOT NULL,
    etag TEXT NOT NULL,
    last_modified TEXT NOT NULL,
    storage_class TEXT NOT NULL,
    content_type TEXT,
    headers TEXT NOT NULL DEFAULT '{}',
    metadata TEXT NOT NULL DEFAULT '{}',
    tags TEXT,
    acl TEXT,
    part_sizes TEXT NOT NULL DEFAULT '[]',
    -- what lies in the archive
    path TEXT,
    stored_size INTEGER,
    digest TEXT,
    md5 TEXT,
    -- how we know
    proof TEXT,
    reason TEXT,
    evidence TEXT,
    attempts INTEGER NOT NULL DEFAULT 0,
    settled_at TEXT,
    UNIQUE (key, version_id)
);

CREATE TABLE folders (
    path TEXT PRIMARY KEY
) WITHOUT ROWID;
"""

# From each earlier version to the next.
MIGRATIONS = {
    1: "ALTER TABLE objects ADD COLUMN acl TEXT",
    2: "ALTER TABLE objects DROP COLUMN seen_run",
}

# One run's work by position, and what its listing has shown. Temporary tables: they cost no fsync and end with the run,
# and a run that finds nothing changed writes no row of an object.
OF_A_RUN = """
DROP TABLE IF EXISTS temp.queue;
DROP TABLE IF EXISTS temp.seen;
CREATE TEMP TABLE queue (position INTEGER PRIMARY KEY, id INTEGER NOT NULL);
CREATE TEMP TABLE seen (id INTEGER PRIMARY KEY);
"""
