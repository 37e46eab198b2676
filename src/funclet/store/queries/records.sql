-- Records of asynchronous requests, newest first. A page begins behind a position: a time and, within it, a number.
-- Counts go up to a limit, so that they cost the same however many records there are.

-- name: record_position
-- Where a record stands.
SELECT accepted_at, submission_id FROM submission WHERE request_id = :request_id AND function_id = :function_id;

-- name: find_records
-- In the order of their index, whatever their state is.
SELECT request_id, shown, attempts, accepted_at, started_at, ended_at, error_code, error_message
FROM (
    SELECT submission_id, request_id, attempts, accepted_at, started_at, ended_at, error_code, error_message,
        CASE WHEN status = 'WAIT' AND request_id IN (SELECT value FROM json_each(:running))
        THEN 'RUNNING' ELSE status END AS shown
    FROM submission
    WHERE function_id = :function_id AND accepted_at >= :begin AND (accepted_at, submission_id) < (:at, :number)
)
WHERE :status = '' OR shown = :status
ORDER BY accepted_at DESC, submission_id DESC
LIMIT :limit OFFSET :offset;

-- name: count_records
-- All matches of find_records when every status is wanted: out of the index.
SELECT count(*) FROM (
    SELECT 1 FROM submission WHERE function_id = :function_id AND accepted_at BETWEEN :begin AND :end LIMIT :most
);

-- name: count_records_of_status
-- All matches of find_records.
SELECT count(*) FROM (
    SELECT 1
    FROM submission
    WHERE function_id = :function_id
        AND accepted_at BETWEEN :begin AND :end
        AND :status = CASE WHEN status = 'WAIT' AND request_id IN (SELECT value FROM json_each(:running))
            THEN 'RUNNING' ELSE status END
    LIMIT :most
);

-- name: find_failed_records
-- Of the states FAIL and DISCARD: by an index that has only these.
SELECT request_id, status, attempts, accepted_at, started_at, ended_at, error_code, error_message
FROM submission INDEXED BY submission_failed
WHERE function_id = :function_id
    AND status IN ('FAIL', 'DISCARD')
    AND status = :status
    AND accepted_at >= :begin
    AND (accepted_at, submission_id) < (:at, :number)
ORDER BY accepted_at DESC, submission_id DESC
LIMIT :limit OFFSET :offset;

-- name: count_failed_records
-- All matches of find_failed_records.
SELECT count(*) FROM (
    SELECT 1
    FROM submission INDEXED BY submission_failed
    WHERE function_id = :function_id
        AND status IN ('FAIL', 'DISCARD')
        AND status = :status
        AND accepted_at BETWEEN :begin AND :end
    LIMIT :most
);

-- name: count_waiting_rows
-- Those that run are among them.
SELECT count(*) FROM (
    SELECT 1 FROM submission INDEXED BY submission_waiting
    WHERE function_id = :function_id AND status = 'WAIT'
    LIMIT :most
);

-- name: find_waiting_records
-- When they are few: sorted, because their index is by due time.
SELECT request_id, status, attempts, accepted_at, started_at, ended_at, error_code, error_message
FROM submission INDEXED BY submission_waiting
WHERE function_id = :function_id
    AND status = 'WAIT'
    AND accepted_at BETWEEN :begin AND :end
    AND request_id NOT IN (SELECT value FROM json_each(:running))
ORDER BY accepted_at DESC, submission_id DESC;

-- name: find_records_by_id
-- find_records when the requests are known: by their own index.
SELECT request_id, shown, attempts, accepted_at, started_at, ended_at, error_code, error_message
FROM (
    SELECT s.submission_id, s.request_id, s.attempts, s.accepted_at, s.started_at, s.ended_at, s.error_code,
        s.error_message, CASE WHEN s.status = 'WAIT' AND s.request_id IN (SELECT value FROM json_each(:running))
        THEN 'RUNNING' ELSE s.status END AS shown
    FROM json_each(:request_ids) AS wanted
    JOIN submission AS s ON s.request_id = wanted.value
    WHERE s.function_id = :function_id AND s.accepted_at BETWEEN :begin AND :end
)
WHERE :status = '' OR shown = :status
ORDER BY accepted_at DESC, submission_id DESC;
