-- Triggers of functions. Oldest first everywhere; `ordinal` orders those of one instant.

-- name: put_trigger
-- Create or replace by id, keeping its ordinal and position; the id of another project's trigger is not replaced.
INSERT INTO function_trigger (trigger_id, project_id, function_id, qualifier, type_code, status, created_at, document)
VALUES (:trigger_id, :project_id, :function_id, :qualifier, :type_code, :status, :created_at, :document)
ON CONFLICT (trigger_id) DO UPDATE
SET function_id = excluded.function_id,
    qualifier = excluded.qualifier,
    type_code = excluded.type_code,
    status = excluded.status,
    created_at = excluded.created_at,
    document = excluded.document
WHERE project_id = excluded.project_id;

-- name: get_trigger
-- One trigger of a project.
SELECT document FROM function_trigger WHERE trigger_id = :trigger_id AND project_id = :project_id;

-- name: list_triggers_of_function
-- Of all its versions and aliases.
SELECT document FROM function_trigger WHERE function_id = :function_id ORDER BY created_at, ordinal;

-- name: list_triggers_of_project
-- One page.
SELECT document
FROM function_trigger
WHERE project_id = :project_id
ORDER BY created_at, ordinal
LIMIT :limit OFFSET :offset;

-- name: count_triggers_of_project
-- All that list_triggers_of_project pages through.
SELECT count(*) FROM function_trigger WHERE project_id = :project_id;

-- name: list_triggers_of_types
-- For the hosts of sources: of every project. The types come as one JSON array.
SELECT document
FROM function_trigger
WHERE type_code IN (SELECT value FROM json_each(:type_codes))
ORDER BY created_at, ordinal;

-- name: list_sealed_triggers
-- Those with secrets.
SELECT document FROM function_trigger WHERE json_extract(document, '$.sealed') <> '{}';

-- name: delete_trigger
-- Nothing happens if there is none.
DELETE FROM function_trigger WHERE trigger_id = :trigger_id;

-- name: get_position
-- Up to when the trigger has fired.
SELECT position FROM function_trigger WHERE trigger_id = :trigger_id;

-- name: seek_trigger
-- Forward or back, without firing.
UPDATE function_trigger SET position = :position WHERE trigger_id = :trigger_id;

-- name: advance_trigger
-- Forward only, so that one due time fires once.
UPDATE function_trigger
SET position = :position
WHERE trigger_id = :trigger_id AND status = :active AND (position IS NULL OR position < :position);

-- name: submission_waits
-- Whether a firing has not come to its end; one that runs waits as well.
SELECT 1 FROM submission WHERE request_id = :request_id AND status = 'WAIT';
