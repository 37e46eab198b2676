-- The audit log.

-- name: add_trace
-- Many at once.
INSERT INTO trace (at, project_id, user_name, operation, outcome, document)
VALUES (?, ?, ?, ?, ?, ?);

-- name: find_traces
-- Newest first, from before a row on.
SELECT trace_id, document FROM trace
WHERE project_id IN (:project_id, CASE WHEN :with_unattributed THEN '' ELSE :project_id END)
  AND at >= :since AND at <= :until
  AND trace_id < :before
  AND (:user_name = '' OR user_name = :user_name)
  AND (:operation = '' OR operation = :operation)
  AND (:outcome = '' OR outcome = :outcome)
ORDER BY trace_id DESC LIMIT :limit;

-- name: trim_traces_by_age
DELETE FROM trace WHERE trace_id IN (SELECT trace_id FROM trace WHERE at < :oldest ORDER BY at LIMIT :limit);

-- name: trim_traces_by_count
-- Ids are given in order and never again, but for those that were trimmed.
DELETE FROM trace WHERE trace_id <= (SELECT MAX(trace_id) FROM trace) - :rows;

-- name: count_traces
SELECT count(*) FROM trace;
