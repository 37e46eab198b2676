-- How systems outside are reached.

-- name: put_connection
INSERT INTO outside_connection (project_id, name, sealed_secret, document)
VALUES (:project_id, :name, :sealed_secret, :document)
ON CONFLICT (project_id, name) DO UPDATE
SET sealed_secret = excluded.sealed_secret, document = excluded.document;

-- name: list_connections
SELECT document, sealed_secret FROM outside_connection WHERE project_id = :project_id ORDER BY name;

-- name: delete_connection
DELETE FROM outside_connection WHERE project_id = :project_id AND name = :name;

-- name: list_sealed_connections
SELECT project_id, name, sealed_secret FROM outside_connection;

-- name: seal_connection
UPDATE outside_connection SET sealed_secret = :sealed_secret WHERE project_id = :project_id AND name = :name;
