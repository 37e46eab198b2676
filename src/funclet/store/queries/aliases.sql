-- Aliases of functions.

-- name: put_alias
-- Create or replace.
INSERT INTO alias (function_id, name, version, document)
VALUES (:function_id, :name, :version, :document)
ON CONFLICT (function_id, name) DO UPDATE SET version = excluded.version, document = excluded.document;

-- name: get_alias
-- One alias.
SELECT document FROM alias WHERE function_id = :function_id AND name = :name;

-- name: list_aliases
-- All aliases of a function by name.
SELECT document FROM alias WHERE function_id = :function_id ORDER BY name;

-- name: delete_alias
-- Its triggers are for the caller to refuse or delete first.
DELETE FROM alias WHERE function_id = :function_id AND name = :name;
