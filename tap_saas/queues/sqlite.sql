-- The tables of a queue in one SQLite file. Instants are microseconds since 1970, UTC.

-- name: tables
CREATE TABLE queue_meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
-- AUTOINCREMENT: without it the offsets begin at 1 again once every event is purged.
CREATE TABLE queue_event (
  off INTEGER PRIMARY KEY AUTOINCREMENT,
  source TEXT NOT NULL,
  received_at INTEGER NOT NULL,
  digest BLOB NOT NULL,       -- the mark
  size INTEGER NOT NULL,      -- bytes of request and body
  request BLOB NOT NULL,      -- JSON: method, path, query, headers, event_id
  body BLOB NOT NULL
);
CREATE INDEX queue_event_source ON queue_event (source, off);
-- Outlives the events: key is a digest of source and event id.
CREATE TABLE queue_seen (key BLOB PRIMARY KEY, received_at INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX queue_seen_age ON queue_seen (received_at);
CREATE TABLE queue_source (
  source TEXT PRIMARY KEY,
  consumers TEXT,             -- JSON list; NULL: the default
  events INTEGER NOT NULL DEFAULT 0,
  bytes INTEGER NOT NULL DEFAULT 0,
  purged INTEGER,             -- the last offset that was purged, and its mark
  purged_digest BLOB
) WITHOUT ROWID;
-- A row a minute, for as long as acknowledged events are kept.
CREATE TABLE queue_acknowledged (
  source TEXT NOT NULL,
  consumer TEXT NOT NULL,
  at INTEGER NOT NULL,
  off INTEGER NOT NULL,
  PRIMARY KEY (source, consumer, at)
) WITHOUT ROWID;
CREATE TABLE queue_refused (
  source TEXT NOT NULL,
  reason TEXT NOT NULL,
  n INTEGER NOT NULL,
  at INTEGER NOT NULL,
  PRIMARY KEY (source, reason)
) WITHOUT ROWID;

-- name: see
INSERT INTO queue_seen (key, received_at) VALUES (?, ?)
ON CONFLICT (key) DO UPDATE SET received_at = excluded.received_at
WHERE queue_seen.received_at < excluded.received_at - ?
RETURNING key

-- name: keep
INSERT INTO queue_event (source, received_at, digest, size, request, body)
VALUES (?, ?, ?, ?, ?, ?)
