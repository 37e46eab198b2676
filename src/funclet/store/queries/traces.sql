-- The audit log.

-- name: add_trace
-- Many at once.
INSERT INTO trace (at, project_id, user_name, operation, outcome, document)
VALUES (?, ?, ?, ?, ?, ?);

-- name: find_traces
-- Newest first, from behind a row on. Each of the same below has an index of its own.
SELECT trace_id, at, document FROM trace
WHERE project_id = :project_id AND at >= :since AND at <= :until
  AND (at < :last_at OR trace_id < :before)
  AND (:outcome = '' OR outcome = :outcome)
ORDER BY at DESC, trace_id DESC LIMIT :limit;

-- name: find_traces_of_outcome
-- Refusals are few, whatever else is asked for.
SELECT trace_id, at, document FROM trace
WHERE project_id = :project_id AND outcome = :outcome AND outcome <> 'done' AND at >= :since AND at <= :until
  AND (at < :last_at OR trace_id < :before)
  AND (:operation = '' OR operation = :operation)
  AND (:user_name = '' OR user_name = :user_name)
ORDER BY at DESC, trace_id DESC LIMIT :limit;

-- name: find_traces_of_operation
-- What else is asked for is looked for among them.
SELECT trace_id, at, document FROM trace
WHERE project_id = :project_id AND operation = :operation AND at >= :since AND at <= :until
  AND (at < :last_at OR trace_id < :before)
  AND (:user_name = '' OR user_name = :user_name)
  AND (:outcome = '' OR outcome = :outcome)
ORDER BY at DESC, trace_id DESC LIMIT :limit;

-- name: find_traces_of_user
-- What else is asked for is looked for among them.
SELECT trace_id, at, document FROM trace
WHERE project_id = :project_id AND user_name = :user_name AND at >= :since AND at <= :until
  AND (at < :last_at OR trace_id < :before)
  AND (:outcome = '' OR outcome = :outcome)
ORDER BY at DESC, trace_id DESC LIMIT :limit;

-- name: time_of_trace
-- Where a page begins.
SELECT at FROM trace WHERE trace_id = :trace_id;

-- name: trim_traces_by_age
DELETE FROM trace WHERE trace_id IN (SELECT trace_id FROM trace WHERE at < :oldest ORDER BY at LIMIT :limit);

-- name: trim_traces_by_count
-- Ids are given in order and never again, but for those that were trimmed.
DELETE FROM trace WHERE trace_id <= (SELECT MAX(trace_id) FROM trace) - :rows;

-- name: count_traces
SELECT count(*) FROM trace;
