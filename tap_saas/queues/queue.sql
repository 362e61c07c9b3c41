-- Statements that SQLite and PostgreSQL both understand. Instants are microseconds since 1970, UTC.

-- name: epoch
SELECT value FROM queue_meta WHERE name = 'epoch'

-- name: sizes
SELECT off, size FROM queue_event
WHERE source = :source AND off > :after AND off <= :last
  AND received_at >= :since AND received_at < :until
ORDER BY off LIMIT :n

-- name: events
SELECT off, received_at, request, body FROM queue_event
WHERE source = :source AND off > :after AND off <= :last
ORDER BY off

-- name: copy
INSERT INTO queue_event (source, received_at, digest, size, request, body)
SELECT source, received_at, digest, size, request, body FROM queue_event
WHERE source = :source AND off > :after AND off <= :last
  AND received_at >= :since AND received_at < :until
ORDER BY off
RETURNING size

-- name: tail
SELECT max(off) FROM queue_event WHERE source = :source

-- name: newest
SELECT min(off) FROM (
  SELECT off FROM queue_event WHERE source = :source ORDER BY off DESC LIMIT :n) AS newest

-- name: digest
SELECT digest FROM queue_event WHERE source = :source AND off = :off

-- name: sources
SELECT source FROM queue_source ORDER BY source

-- name: source
SELECT consumers, purged, purged_digest FROM queue_source WHERE source = :source

-- name: declare
INSERT INTO queue_source (source, consumers) VALUES (:source, :consumers)
ON CONFLICT (source) DO UPDATE SET consumers = excluded.consumers

-- name: grow
INSERT INTO queue_source (source, events, bytes) VALUES (:source, :events, :bytes)
ON CONFLICT (source) DO UPDATE SET
  events = queue_source.events + excluded.events, bytes = queue_source.bytes + excluded.bytes

-- name: totals
SELECT CAST(coalesce(sum(events), 0) AS bigint), CAST(coalesce(sum(bytes), 0) AS bigint)
FROM queue_source

-- name: acknowledged
SELECT consumer, max(off) FROM queue_acknowledged
WHERE source = :source AND at <= :at
GROUP BY consumer

-- name: acknowledge
INSERT INTO queue_acknowledged (source, consumer, at, off) VALUES (:source, :consumer, :at, :off)
ON CONFLICT (source, consumer, at) DO UPDATE SET off = excluded.off
WHERE queue_acknowledged.off < excluded.off

-- name: forget_acknowledged
DELETE FROM queue_acknowledged WHERE at < (
  SELECT max(later.at) FROM queue_acknowledged AS later
  WHERE later.source = queue_acknowledged.source
    AND later.consumer = queue_acknowledged.consumer AND later.at <= :at)

-- name: purge
DELETE FROM queue_event WHERE off IN (
  SELECT off FROM queue_event WHERE source = :source AND off <= :last ORDER BY off LIMIT :n)
RETURNING off, size, digest

-- name: purged
UPDATE queue_source
SET events = events - :events, bytes = bytes - :bytes, purged = :off, purged_digest = :digest
WHERE source = :source

-- name: forget_seen
DELETE FROM queue_seen WHERE key IN (
  SELECT key FROM queue_seen WHERE received_at < :before ORDER BY received_at LIMIT :n)
RETURNING 1

-- name: refused_pairs
SELECT count(*) FROM queue_refused

-- name: refused_is_known
SELECT 1 FROM queue_refused WHERE source = :source AND reason = :reason

-- name: refuse
INSERT INTO queue_refused (source, reason, n, at) VALUES (:source, :reason, :n, :at)
ON CONFLICT (source, reason) DO UPDATE SET n = queue_refused.n + excluded.n, at = excluded.at

-- name: refused
SELECT source, reason, n, at FROM queue_refused ORDER BY n DESC, source, reason

-- name: source_status
SELECT consumers, events, bytes, purged,
  (SELECT min(off) FROM queue_event WHERE source = :source),
  (SELECT max(off) FROM queue_event WHERE source = :source),
  (SELECT received_at FROM queue_event WHERE source = :source ORDER BY off LIMIT 1)
FROM queue_source WHERE source = :source

-- name: waiting
SELECT received_at FROM queue_event WHERE source = :source AND off > :after ORDER BY off LIMIT 1
