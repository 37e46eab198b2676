-- Logs of functions.

-- name: add_log
-- One record, in a batch.
INSERT INTO log (at, function_id, version, request_id, outcome, duration_ms, is_cold, labels, text)
VALUES (:at, :function_id, :version, :request_id, :outcome, :duration_ms, :is_cold, :labels, :text);

-- name: find_newest_logs
-- The end of the log; newest first, the caller turns them round.
SELECT log_id, function_id, version, request_id, at, text, outcome, duration_ms, is_cold, labels
FROM log
WHERE function_id = :function_id AND at >= :since AND (:until IS NULL OR at <= :until)
ORDER BY log_id DESC
LIMIT :limit;

-- name: find_next_logs
-- What came after a record that the caller has.
SELECT log_id, function_id, version, request_id, at, text, outcome, duration_ms, is_cold, labels
FROM log
WHERE function_id = :function_id AND log_id > :after_id AND at >= :since AND (:until IS NULL OR at <= :until)
ORDER BY log_id
LIMIT :limit;

-- name: find_newest_logs_of_request
-- As find_newest_logs, by the index of requests.
SELECT log_id, function_id, version, request_id, at, text, outcome, duration_ms, is_cold, labels
FROM log
WHERE function_id = :function_id AND request_id = :request_id AND at >= :since AND (:until IS NULL OR at <= :until)
ORDER BY log_id DESC
LIMIT :limit;

-- name: find_next_logs_of_request
-- As find_next_logs, by the index of requests.
SELECT log_id, function_id, version, request_id, at, text, outcome, duration_ms, is_cold, labels
FROM log
WHERE function_id = :function_id AND request_id = :request_id AND log_id > :after_id
    AND at >= :since AND (:until IS NULL OR at <= :until)
ORDER BY log_id
LIMIT :limit;

-- name: delete_oldest_logs
-- The file is too large.
DELETE FROM log WHERE log_id IN (SELECT log_id FROM log ORDER BY log_id LIMIT :limit);

-- name: delete_expired_logs
-- Only looks at the oldest, because ids grow with time.
DELETE FROM log
WHERE log_id IN (SELECT log_id FROM log ORDER BY log_id LIMIT :limit) AND at < :before;
