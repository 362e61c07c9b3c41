-- The tables of a queue in PostgreSQL. Instants are microseconds since 1970, UTC.

-- name: tables
CREATE TABLE queue_meta (name text PRIMARY KEY, value text NOT NULL);
CREATE TABLE queue_event (
  off bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  source text NOT NULL,
  received_at bigint NOT NULL,
  digest bytea NOT NULL,      -- the mark
  size bigint NOT NULL,       -- bytes of request and body
  request bytea NOT NULL,     -- JSON: method, path, query, headers, event_id
  body bytea NOT NULL
);
CREATE INDEX queue_event_source ON queue_event (source, off);
-- Outlives the events: key is a digest of source and event id.
CREATE TABLE queue_seen (key bytea PRIMARY KEY, received_at bigint NOT NULL);
CREATE INDEX queue_seen_age ON queue_seen (received_at);
CREATE TABLE queue_source (
  source text PRIMARY KEY,
  consumers text,             -- JSON list; NULL: the default
  events bigint NOT NULL DEFAULT 0,
  bytes bigint NOT NULL DEFAULT 0,
  purged bigint,              -- the last offset that was purged, and its mark
  purged_digest bytea
);
-- A row a minute, for as long as acknowledged events are kept.
CREATE TABLE queue_acknowledged (
  source text NOT NULL,
  consumer text NOT NULL,
  at bigint NOT NULL,
  off bigint NOT NULL,
  PRIMARY KEY (source, consumer, at)
);
CREATE TABLE queue_refused (
  source text NOT NULL,
  reason text NOT NULL,
  n bigint NOT NULL,
  at bigint NOT NULL,
  PRIMARY KEY (source, reason)
);

-- name: version
SELECT value FROM queue_meta WHERE name = 'version'

-- name: prepare
-- An answer must not be given for what a crash of the server can lose; who freezes inside a
-- transaction must not hold up the others for ever.
SELECT set_config('lock_timeout', '5s', true),
  set_config('statement_timeout', '30s', true),
  set_config('idle_in_transaction_session_timeout', '10s', true),
  CASE current_setting('synchronous_commit') WHEN 'off'
    THEN set_config('synchronous_commit', 'on', true) END

-- name: lock
-- Until the end of the transaction: offsets appear in the order in which they are given.
SELECT pg_advisory_xact_lock(:key)

-- name: append
WITH given AS (
  SELECT * FROM unnest(
    :keys::bytea[], :sources::text[], :instants::bigint[], :digests::bytea[], :requests::bytea[],
    :bodies::bytea[]
  ) WITH ORDINALITY AS given (key, source, received_at, digest, request, body, n)
), fresh AS (
  INSERT INTO queue_seen (key, received_at)
  SELECT key, received_at FROM given WHERE key IS NOT NULL
  ON CONFLICT (key) DO UPDATE SET received_at = excluded.received_at
  WHERE queue_seen.received_at < excluded.received_at - :remember
  RETURNING key
), kept AS (
  INSERT INTO queue_event (source, received_at, digest, size, request, body)
  SELECT source, received_at, digest, octet_length(request) + octet_length(body), request, body
  FROM given WHERE key IS NULL OR key IN (SELECT key FROM fresh)
  ORDER BY n
  RETURNING source, size
), grown AS (
  INSERT INTO queue_source (source, events, bytes)
  SELECT source, count(*), sum(size) FROM kept GROUP BY source
  ON CONFLICT (source) DO UPDATE SET
    events = queue_source.events + excluded.events, bytes = queue_source.bytes + excluded.bytes
)
SELECT key FROM fresh

-- name: file_bytes
SELECT sum(pg_total_relation_size(name::regclass))::bigint
FROM unnest(ARRAY['queue_event', 'queue_seen', 'queue_source', 'queue_acknowledged']) AS name
