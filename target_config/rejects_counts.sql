-- Rejects by stream and error type, most first.
SELECT j ->> 'stream', j ->> 'error', count(*)::int,
  (count(*) FILTER (WHERE j ->> 'replayed_at' IS NOT NULL))::int, max(j ->> 'rejected_at')
FROM {rows} WHERE {which} GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2
