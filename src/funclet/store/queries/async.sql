-- Settings of asynchronous requests, deliveries, dead letters.

-- name: put_async_config
-- Create or replace.
INSERT OR REPLACE INTO async_config (function_id, version, document) VALUES (:function_id, :version, :document);

-- name: get_async_config
-- Of one version.
SELECT document FROM async_config WHERE function_id = :function_id AND version = :version;

-- name: list_async_configs
-- Of all versions.
SELECT version, document FROM async_config WHERE function_id = :function_id ORDER BY version;

-- name: delete_async_config
-- Of one version.
DELETE FROM async_config WHERE function_id = :function_id AND version = :version;

-- name: put_async_status_log
-- One that is enabled stays.
INSERT OR IGNORE INTO async_status_log (project_id, group_id, stream_id) VALUES (:project_id, :group_id, :stream_id);

-- name: get_async_status_log
-- None before it is enabled.
SELECT group_id, stream_id FROM async_status_log WHERE project_id = :project_id;

-- name: list_async_status_lines
-- Oldest first.
SELECT line_id, document FROM async_status_line
WHERE project_id = :project_id AND line_id > :after AND (:request_id = '' OR request_id = :request_id)
ORDER BY line_id
LIMIT :limit;

-- name: add_delivery
-- Due at once.
INSERT INTO delivery (
    request_id, project_id, function_id, function_urn, is_success, kind, param, root_request_id, depth,
    request_ended_at, status, tries, due_at, error_message
)
VALUES (
    :request_id, :project_id, :function_id, :function_urn, :is_success, :kind, :param, :root_request_id, :depth,
    :request_ended_at, 'WAIT', 0, :due_at, ''
);

-- name: add_delivery_document
-- Of the delivery that was just added.
INSERT INTO delivery_document (delivery_id, document) VALUES (:delivery_id, :document);

-- name: due_deliveries
-- Earliest first.
SELECT d.delivery_id, d.request_id, d.project_id, d.function_id, d.function_urn, d.is_success, d.kind, d.param,
    d.root_request_id, d.depth, d.request_ended_at, d.tries, c.document
FROM delivery AS d
JOIN delivery_document AS c ON c.delivery_id = d.delivery_id
WHERE d.status = 'WAIT' AND d.due_at <= :now AND d.delivery_id NOT IN (SELECT value FROM json_each(:held))
ORDER BY d.due_at, d.delivery_id
LIMIT :limit;

-- name: next_due_delivery
-- When deliveries must be looked at again.
SELECT due_at FROM delivery WHERE status = 'WAIT' AND due_at > :after ORDER BY due_at LIMIT 1;

-- name: delivery_due_too_late
-- After a restart with another clock.
UPDATE delivery SET due_at = :now WHERE status = 'WAIT' AND due_at > :latest;

-- name: end_delivery
-- Sent, or given up.
UPDATE delivery SET status = :status, tries = tries + 1, ended_at = :at, error_message = :error_message
WHERE delivery_id = :delivery_id AND status = 'WAIT';

-- name: put_off_delivery
-- Try again later.
UPDATE delivery SET tries = tries + 1, due_at = :due_at, error_message = :error_message
WHERE delivery_id = :delivery_id AND status = 'WAIT';

-- name: delete_delivery_document
-- Nobody reads it after the end.
DELETE FROM delivery_document WHERE delivery_id = :delivery_id;

-- name: list_deliveries_of_request
-- For whoever follows a request.
SELECT kind, status, tries, error_message FROM delivery
WHERE request_id = :request_id AND project_id = :project_id
ORDER BY delivery_id;

-- name: add_dead_letter
-- Newest last.
INSERT INTO dead_letter (
    project_id, function_id, function_urn, request_id, reason, kind, param, is_success, root_request_id, depth,
    first_seen, document
)
VALUES (
    :project_id, :function_id, :function_urn, :request_id, :reason, :kind, :param, :is_success, :root_request_id,
    :depth, :first_seen, :document
);

-- name: trim_dead_letters
-- The oldest of a project that has too many.
DELETE FROM dead_letter
WHERE letter_id IN (
    SELECT letter_id FROM dead_letter
    WHERE project_id = :project_id
    ORDER BY letter_id DESC
    LIMIT -1 OFFSET :kept
);

-- name: list_dead_letters
-- Newest first.
SELECT letter_id, project_id, function_id, function_urn, request_id, reason, kind, param, is_success,
    root_request_id, depth, first_seen, document
FROM dead_letter
WHERE project_id = :project_id
ORDER BY letter_id DESC
LIMIT :limit OFFSET :offset;

-- name: count_dead_letters
-- Of a project.
SELECT count(*) FROM dead_letter WHERE project_id = :project_id;

-- name: get_dead_letter
-- For a replay.
SELECT letter_id, project_id, function_id, function_urn, request_id, reason, kind, param, is_success,
    root_request_id, depth, first_seen, document
FROM dead_letter
WHERE project_id = :project_id AND letter_id = :letter_id;

-- name: purge_dead_letters
-- Some of a project.
DELETE FROM dead_letter
WHERE project_id = :project_id AND letter_id IN (SELECT value FROM json_each(:letter_ids));

-- name: purge_all_dead_letters
-- All of a project.
DELETE FROM dead_letter WHERE project_id = :project_id;
