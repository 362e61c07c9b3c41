-- name: tables
BEGIN;
SELECT pg_advisory_xact_lock(%(space)s, 0);
-- One row a bucket. Instants are seconds since 1970 by the clock of the database. Rows are rewritten
-- all the time: what that leaves behind is removed early.
CREATE TABLE IF NOT EXISTS budget_bucket (
    name text PRIMARY KEY,
    state bytea NOT NULL,             -- the reservation log and who waits (MessagePack)
    idle_at double precision NOT NULL -- from then on the row says nothing any more
) WITH (
    fillfactor = 50,
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000,
    toast.autovacuum_vacuum_scale_factor = 0, toast.autovacuum_vacuum_threshold = 2000
);
ALTER TABLE budget_bucket ALTER COLUMN state SET STORAGE EXTERNAL; -- compressing costs more time
COMMIT;

-- name: known
SELECT to_regclass('budget_bucket') IS NOT NULL;

-- name: open
-- One statement each: what comes after the lock sees what was kept before it was given. Whoever
-- stalls in between loses the lock, and keeps nothing.
BEGIN ISOLATION LEVEL READ COMMITTED;
SET LOCAL synchronous_commit = off;
SET LOCAL lock_timeout = %(lock_ms)s;
SET LOCAL idle_in_transaction_session_timeout = %(stall_ms)s;
SELECT pg_advisory_xact_lock(%(space)s, key)
FROM (SELECT DISTINCT hashtext(name) AS key FROM unnest(%(names)s::text[]) AS name ORDER BY key)
    AS keys;
SELECT asked.name, state, extract(epoch FROM clock_timestamp())::double precision
FROM unnest(%(names)s::text[]) AS asked (name)
LEFT JOIN budget_bucket ON budget_bucket.name = asked.name;

-- name: keep
INSERT INTO budget_bucket (name, state, idle_at)
SELECT * FROM unnest(%(names)s::text[], %(states)s::bytea[], %(idle_ats)s::double precision[])
ON CONFLICT (name) DO UPDATE SET state = excluded.state, idle_at = excluded.idle_at;
DELETE FROM budget_bucket WHERE name = ANY (%(idle)s::text[]);
COMMIT;

-- name: clean
BEGIN;
SET LOCAL synchronous_commit = off;
DELETE FROM budget_bucket WHERE name IN (
    SELECT name FROM budget_bucket
    WHERE idle_at < coalesce(%(now)s, extract(epoch FROM clock_timestamp()))
    FOR UPDATE SKIP LOCKED
);
COMMIT;
