-- The queue of asynchronous submissions.

-- name: add_submission
-- Accepted: waits, due at once.
INSERT INTO submission (
    request_id, project_id, function_id, urn, memory_mib, accepted_at,
    status, attempts, due_at, error_code, error_message
)
VALUES (
    :request_id, :project_id, :function_id, :urn, :memory_mib, :accepted_at,
    'WAIT', 0, :accepted_at, 0, ''
);

-- name: submission_exists
-- Whether a request id was submitted before.
SELECT 1 FROM submission WHERE request_id = :request_id;

-- name: add_payload
-- Of the submission that was just added.
INSERT INTO submission_payload (submission_id, payload) VALUES (:submission_id, :payload);

-- name: due_submissions
-- What a lease takes: oldest due time first, then in the order of acceptance.
SELECT s.submission_id, s.attempts, s.request_id, s.project_id, s.function_id, s.urn, p.payload, s.memory_mib,
    s.accepted_at
FROM submission AS s
JOIN submission_payload AS p ON p.submission_id = s.submission_id
WHERE s.status = 'WAIT' AND s.due_at <= :now
ORDER BY s.due_at, s.submission_id
LIMIT :limit;

-- name: lease_submission
-- Hand a row to a worker; the first attempt is when it started.
UPDATE submission
SET status = 'RUNNING', attempts = attempts + 1, started_at = coalesce(started_at, :now)
WHERE submission_id = :submission_id;

-- name: end_submission
-- Only what is running can end here.
UPDATE submission
SET status = :status, ended_at = :at, error_code = :error_code, error_message = :error_message
WHERE request_id = :request_id AND status = 'RUNNING';

-- name: put_back_submission
-- Try again later. An attempt that is given back never started.
UPDATE submission
SET status = 'WAIT',
    due_at = :due_at,
    attempts = attempts - :given_back,
    started_at = CASE WHEN attempts > :given_back THEN started_at END,
    error_code = :error_code,
    error_message = :error_message
WHERE request_id = :request_id AND status = 'RUNNING';

-- name: delete_payload
-- Nobody reads it after the end.
DELETE FROM submission_payload
WHERE submission_id = (SELECT submission_id FROM submission WHERE request_id = :request_id);

-- name: backlog
-- For metrics. Left alone, the planner would read the ended rows too.
SELECT count(*), min(accepted_at) FROM submission INDEXED BY submission_waiting WHERE status = 'WAIT';

-- name: recover_submissions
-- The server that ran them is gone. They stay due since their last due time, so the oldest go first.
UPDATE submission SET status = 'WAIT' WHERE status = 'RUNNING';

-- name: next_due
-- When the worker must wake.
SELECT due_at FROM submission WHERE status = 'WAIT' ORDER BY due_at, submission_id LIMIT 1;

-- name: delete_waiting_payloads
-- Before discard_waiting.
DELETE FROM submission_payload
WHERE submission_id IN (
    SELECT submission_id FROM submission WHERE function_id = :function_id AND status = 'WAIT'
);

-- name: discard_waiting
-- The function is gone.
UPDATE submission
SET status = 'DISCARD', ended_at = :at, error_code = :error_code, error_message = :error_message
WHERE function_id = :function_id AND status = 'WAIT';

-- name: find_records
-- One page for the owner of the function, newest first.
SELECT request_id, status, attempts, accepted_at, started_at, ended_at, error_code, error_message
FROM submission
WHERE function_id = :function_id
    AND (:status = '' OR status = :status)
ORDER BY accepted_at DESC, submission_id DESC
LIMIT :limit OFFSET :offset;

-- name: count_records
-- All matches of find_records.
SELECT count(*)
FROM submission
WHERE function_id = :function_id
    AND (:status = '' OR status = :status);

-- name: find_record
-- find_records when the request is known: by its own index.
SELECT request_id, status, attempts, accepted_at, started_at, ended_at, error_code, error_message
FROM submission
WHERE request_id = :request_id
    AND function_id = :function_id
    AND (:status = '' OR status = :status);

-- name: forget_submissions
-- In steps, because other writes wait meanwhile.
DELETE FROM submission
WHERE submission_id IN (
    SELECT submission_id FROM submission WHERE ended_at < :ended_before ORDER BY ended_at LIMIT :limit
);
