-- The guard of one table: its rows keep their newest version, whatever order versions arrive in.
--
-- The target writes a batch as INSERT of the keys that are not there, then UPDATE of all its rows.
-- Equal versions pass (the UPDATE meets rows that the INSERT has just made); NULL is older than all.
-- A row that is marked as deleted keeps its columns; it lives again with a newer version, and with
-- the same version only when a later full pass has seen it. Without a version the last to come wins.
-- _sdc_table_version, which tells full passes from each other, never goes back: a row that a pass has
-- seen stays alive at the pass's end, though what the pass brought was stale. Rows that come outside
-- of a full pass count as seen now (milliseconds).
CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS $guard$
DECLARE
  is_stale boolean;
BEGIN
  IF TG_LEVEL = 'STATEMENT' THEN
    -- One writer a table until its commit: two pipelines cannot insert one key at the same time ...
    PERFORM pg_advisory_xact_lock({lock_class}, TG_RELID::integer);
    RETURN NULL;
  END IF;
  IF TG_OP = 'INSERT' THEN
    -- ... and a key that came while this statement waited is left to the UPDATE that follows.
    IF EXISTS (SELECT FROM {table} WHERE {same_key}) THEN
      RETURN NULL;
    END IF;
    IF NEW._sdc_table_version IS NULL THEN
      NEW._sdc_table_version := date_part('epoch', now()) * 1000;
    END IF;
    RETURN NEW;
  END IF;
  is_stale := {is_older} OR (
    OLD._sdc_deleted_at IS NOT NULL AND NEW._sdc_deleted_at IS NULL AND {is_same}
    AND NOT coalesce(NEW._sdc_table_version > coalesce(OLD._sdc_table_version, -1), false));
  IF is_stale THEN
    {keep_reading}
    IF NEW._sdc_table_version > coalesce(OLD._sdc_table_version, -1) THEN
      OLD._sdc_table_version := NEW._sdc_table_version;
      RETURN OLD;
    END IF;
    RETURN NULL;
  END IF;
  IF NEW._sdc_deleted_at IS NOT NULL THEN
    IF NEW._sdc_table_version IS DISTINCT FROM OLD._sdc_table_version THEN
      OLD._sdc_table_version := greatest(OLD._sdc_table_version,
        coalesce(NEW._sdc_table_version, (date_part('epoch', now()) * 1000)::bigint));
    END IF;
    {keep_version}
    OLD._sdc_deleted_at := NEW._sdc_deleted_at;
    RETURN OLD;
  END IF;
  {carry_reading}
  NEW._sdc_table_version := greatest(OLD._sdc_table_version,
    coalesce(NEW._sdc_table_version, (date_part('epoch', now()) * 1000)::bigint));
  RETURN NEW;
END $guard$;

COMMENT ON FUNCTION {function}() IS {comment};

DROP TRIGGER IF EXISTS tap_saas_guard_lock ON {table};
CREATE TRIGGER tap_saas_guard_lock BEFORE INSERT OR UPDATE ON {table}
  FOR EACH STATEMENT EXECUTE FUNCTION {function}();

DROP TRIGGER IF EXISTS tap_saas_guard_row ON {table};
CREATE TRIGGER tap_saas_guard_row BEFORE INSERT OR UPDATE ON {table}
  FOR EACH ROW EXECUTE FUNCTION {function}();

-- The UPDATE that follows an INSERT changes nothing: without a second copy of the row it costs half.
-- Row triggers fire in the order of their names, this one after the guard.
DROP TRIGGER IF EXISTS tap_saas_guard_same ON {table};
CREATE TRIGGER tap_saas_guard_same BEFORE UPDATE ON {table}
  FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
