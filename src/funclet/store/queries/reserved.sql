-- What functions keep ready.

-- name: put_reserved_policy
-- Create or replace.
INSERT INTO reserved_policy (function_id, qualifier, project_id, document)
VALUES (:function_id, :qualifier, :project_id, :document)
ON CONFLICT (function_id, qualifier) DO UPDATE SET document = excluded.document;

-- name: delete_reserved_policy
-- Of one version or alias.
DELETE FROM reserved_policy WHERE function_id = :function_id AND qualifier = :qualifier;

-- name: get_reserved_policy
-- Of one version or alias.
SELECT document FROM reserved_policy WHERE function_id = :function_id AND qualifier = :qualifier;

-- name: list_reserved_policies_of_function
-- Of all versions and aliases.
SELECT document FROM reserved_policy WHERE function_id = :function_id ORDER BY qualifier;

-- name: list_reserved_policies_of_project
-- In the order of names.
SELECT p.document
FROM reserved_policy AS p
JOIN function AS f ON f.function_id = p.function_id
WHERE p.project_id = :project_id
ORDER BY f.name, p.qualifier;

-- name: list_reserved_policies
-- For the process that keeps instances.
SELECT document FROM reserved_policy;
