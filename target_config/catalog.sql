-- What a schema holds of the named tables: one JSON object a table.
SELECT json_build_object(
  'name', c.relname,
  'is_table', c.relkind IN ('r', 'p'),
  'columns', (
    SELECT coalesce(json_object_agg(a.attname, format_type(a.atttypid, a.atttypmod)), '{}')
    FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
  'keys', (
    SELECT coalesce(json_agg(json_build_object('name', k.relname, 'is_primary', i.indisprimary, 'columns', (
      SELECT json_agg(a.attname) FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum = ANY (i.indkey)))), '[]')
    FROM pg_index i JOIN pg_class k ON k.oid = i.indexrelid
    WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL),
  'triggers', (
    SELECT coalesce(json_object_agg(t.tgname, json_build_object(
      'is_enabled', t.tgenabled IN ('O', 'A'), 'function', p.proname, 'body', p.prosrc,
      'comment', obj_description(p.oid, 'pg_proc'))), '{}')
    FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
    WHERE t.tgrelid = c.oid AND t.tgname LIKE 'tap\_saas\_guard\_%%'))::text
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %(schema)s AND c.relname = ANY (%(names)s) AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
