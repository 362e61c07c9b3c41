-- The children that their parent's last reading showed. What came outside of a reading (events) has
-- no instant of one: it counts from when it was extracted. A reading that showed no child has left a
-- row of its own in {readings}.
CREATE VIEW {view} AS
SELECT child.* FROM {table} AS child
LEFT JOIN (SELECT {parent}, max({at}) AS read_at FROM {table} GROUP BY {parent}) AS shown
  ON {same_parent}
LEFT JOIN {readings} AS empty
  ON empty.stream = {stream} AND empty.parent = jsonb_build_object({named})
WHERE child._sdc_deleted_at IS NULL
  AND coalesce(child.{at}, child._sdc_extracted_at) >=
    coalesce(greatest(shown.read_at, empty.read_at), '-infinity');

COMMENT ON VIEW {view} IS {comment};
