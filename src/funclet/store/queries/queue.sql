-- The queue of asynchronous submissions.

-- name: last_submission
-- New rows take the numbers behind it.
SELECT coalesce(max(submission_id), 0) FROM submission;

-- name: add_submissions
-- Accepted: waits, due at once. The row of values is repeated.
INSERT INTO submission (
    submission_id, request_id, project_id, function_id, urn, memory_mib, accepted_at, queued_at, due_at,
    payload_bytes, source, root_request_id, parent_request_id, depth,
    status, attempts, refusals, error_code, error_message
)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'WAIT', 0, 0, 0, '');

-- name: add_payloads
-- Of the submissions that were just added. The row of values is repeated.
INSERT INTO submission_payload (submission_id, payload) VALUES (?, ?);

-- name: submission_exists
-- Whether a request id was submitted before.
SELECT 1 FROM submission WHERE request_id = :request_id;

-- name: find_dedup
-- What was submitted with this id a short while ago.
SELECT request_id FROM submission_dedup
WHERE function_id = :function_id AND qualifier = :qualifier AND dedup_id = :dedup_id AND queued_at > :after;

-- name: put_dedup
-- An older one with this id has run out.
INSERT OR REPLACE INTO submission_dedup (function_id, qualifier, dedup_id, request_id, queued_at)
VALUES (:function_id, :qualifier, :dedup_id, :request_id, :queued_at);

-- name: due_ids
-- Out of the index alone.
SELECT submission_id, payload_bytes
FROM submission INDEXED BY submission_waiting
WHERE function_id = :function_id AND status = 'WAIT' AND due_at <= :now
ORDER BY due_at, submission_id
LIMIT :limit;

-- name: queued_requests
-- The rows of `due_ids` that were chosen.
SELECT s.submission_id, s.request_id, s.project_id, s.function_id, s.urn, p.payload, s.memory_mib, s.accepted_at,
    s.source, s.root_request_id, s.parent_request_id, s.depth, s.queued_at, s.attempts, s.refusals, s.started_at,
    s.error_code, s.error_message
FROM json_each(:ids) AS wanted
JOIN submission AS s ON s.submission_id = wanted.value
JOIN submission_payload AS p ON p.submission_id = s.submission_id
ORDER BY s.due_at, s.submission_id;

-- name: waiting_request
-- For a cancellation.
SELECT s.submission_id, s.request_id, s.project_id, s.function_id, s.urn, p.payload, s.memory_mib, s.accepted_at,
    s.source, s.root_request_id, s.parent_request_id, s.depth, s.queued_at, s.attempts, s.refusals, s.started_at,
    s.error_code, s.error_message
FROM submission AS s
JOIN submission_payload AS p ON p.submission_id = s.submission_id
WHERE s.request_id = :request_id AND s.function_id = :function_id AND s.status = 'WAIT';

-- name: next_due
-- When a function must be looked at again.
SELECT due_at
FROM submission INDEXED BY submission_waiting
WHERE function_id = :function_id AND status = 'WAIT' AND due_at > :after
ORDER BY due_at LIMIT 1;

-- name: oldest_queued_at
-- For metrics: of the row that is due first, which is the oldest but for those that are retried.
SELECT queued_at
FROM submission INDEXED BY submission_waiting
WHERE function_id = :function_id AND status = 'WAIT'
ORDER BY due_at, submission_id LIMIT 1;

-- name: end_submissions
-- Only what waits can end here. The row of values is repeated.
UPDATE submission
SET status = v.column2, ended_at = v.column3, attempts = v.column4, started_at = v.column5,
    error_code = v.column6, error_message = v.column7
FROM (VALUES (?, ?, ?, ?, ?, ?, ?)) AS v
WHERE submission.submission_id = v.column1 AND submission.status = 'WAIT';

-- name: put_off_submissions
-- Try again later. The row of values is repeated.
UPDATE submission
SET due_at = v.column2, attempts = v.column3, refusals = v.column4, started_at = v.column5,
    error_code = v.column6, error_message = v.column7
FROM (VALUES (?, ?, ?, ?, ?, ?, ?)) AS v
WHERE submission.submission_id = v.column1 AND submission.status = 'WAIT';

-- name: delete_payloads
-- Nobody reads them after the end.
DELETE FROM submission_payload WHERE submission_id IN (SELECT value FROM json_each(:ids));

-- name: delete_ended_submissions
-- Those that are not to be looked up.
DELETE FROM submission WHERE submission_id IN (SELECT value FROM json_each(:ids)) AND status <> 'WAIT';

-- name: lanes
-- Out of the index; the rest by the first row of each function.
SELECT w.function_id, s.project_id, s.urn, w.row_count, w.payload_bytes, w.due_at
FROM (
    SELECT function_id, count(*) AS row_count, sum(payload_bytes) AS payload_bytes, min(due_at) AS due_at,
        min(submission_id) AS submission_id
    FROM submission INDEXED BY submission_waiting
    WHERE status = 'WAIT'
    GROUP BY function_id
) AS w
JOIN submission AS s ON s.submission_id = w.submission_id;

-- name: due_too_late
-- After a restart with another clock.
UPDATE submission SET due_at = :now WHERE status = 'WAIT' AND due_at > :latest;

-- name: discard_ids
-- The function is gone: some of what waits for it.
SELECT submission_id, payload_bytes
FROM submission INDEXED BY submission_waiting
WHERE function_id = :function_id AND status = 'WAIT'
LIMIT :limit;

-- name: discard_submissions
-- In steps, because other writes wait meanwhile.
UPDATE submission
SET status = 'DISCARD', ended_at = :at, error_code = :error_code, error_message = :error_message
WHERE submission_id IN (SELECT value FROM json_each(:ids)) AND status = 'WAIT';

-- name: find_children
-- What a request has caused, as far as it goes on.
SELECT function_id, request_id FROM submission
WHERE parent_request_id = :request_id AND parent_request_id <> '' AND status = 'WAIT';

-- name: forget_submissions
-- In steps, because other writes wait meanwhile.
DELETE FROM submission
WHERE submission_id IN (
    SELECT submission_id FROM submission WHERE ended_at < :ended_before ORDER BY ended_at LIMIT :limit
);

-- name: forget_dedup
-- They have run out.
DELETE FROM submission_dedup
WHERE (function_id, qualifier, dedup_id) IN (
    SELECT function_id, qualifier, dedup_id FROM submission_dedup WHERE queued_at < :queued_before LIMIT :limit
);

-- name: forget_status_lines
-- As old as records.
DELETE FROM async_status_line
WHERE line_id IN (SELECT line_id FROM async_status_line WHERE at < :ended_before LIMIT :limit);

-- name: forget_deliveries
-- As old as records.
DELETE FROM delivery
WHERE delivery_id IN (
    SELECT delivery_id FROM delivery WHERE ended_at < :ended_before ORDER BY ended_at LIMIT :limit
);

-- name: forget_dead_letters
-- As old as records.
DELETE FROM dead_letter
WHERE letter_id IN (SELECT letter_id FROM dead_letter WHERE first_seen < :ended_before LIMIT :limit);

-- name: add_status_line
-- Of the status log.
INSERT INTO async_status_line (project_id, request_id, at, document)
VALUES (:project_id, :request_id, :at, :document);

-- name: changes
-- How many rows the statement before has changed.
SELECT changes();
