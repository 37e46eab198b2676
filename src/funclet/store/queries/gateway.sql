-- Custom authorizers of the gateway, and apps that may call APIs.

-- name: put_authorizer
-- Create or replace by id.
INSERT INTO gateway_authorizer (authorizer_id, project_id, name, document)
VALUES (:authorizer_id, :project_id, :name, :document)
ON CONFLICT (authorizer_id) DO UPDATE SET name = excluded.name, document = excluded.document;

-- name: list_authorizers
-- Of a project, or of all when none is named.
SELECT document FROM gateway_authorizer WHERE :project_id IN ('', project_id) ORDER BY name;

-- name: delete_authorizer
DELETE FROM gateway_authorizer WHERE authorizer_id = :authorizer_id;

-- name: put_app
-- Create or replace by id.
INSERT INTO gateway_app (app_id, project_id, name, app_key, document)
VALUES (:app_id, :project_id, :name, :app_key, :document)
ON CONFLICT (app_id) DO UPDATE
SET name = excluded.name, app_key = excluded.app_key, document = excluded.document;

-- name: list_apps
-- Of a project, or of all when none is named.
SELECT document FROM gateway_app WHERE :project_id IN ('', project_id) ORDER BY name;

-- name: find_app_with_key
SELECT document FROM gateway_app WHERE app_key = :app_key;

-- name: find_app_with_code
SELECT a.document
FROM gateway_app_code AS c
JOIN gateway_app AS a ON a.app_id = c.app_id
WHERE c.digest = :digest;

-- name: delete_app
DELETE FROM gateway_app WHERE app_id = :app_id;

-- name: add_app_code
INSERT INTO gateway_app_code (code_id, app_id, digest, document) VALUES (:code_id, :app_id, :digest, :document);

-- name: seal_app_code
UPDATE gateway_app_code SET document = :document WHERE code_id = :code_id;

-- name: list_app_codes
-- Of an app, or of all when none is named; oldest first.
SELECT document FROM gateway_app_code WHERE :app_id IN ('', app_id) ORDER BY ordinal;

-- name: delete_app_code
DELETE FROM gateway_app_code WHERE code_id = :code_id;

-- name: put_grant
-- One for each pair: granting again changes nothing.
INSERT INTO gateway_grant (grant_id, app_id, api_id, document)
VALUES (:grant_id, :app_id, :api_id, :document)
ON CONFLICT (app_id, api_id) DO NOTHING;

-- name: list_gateway_grants
-- Of an app, oldest first.
SELECT document FROM gateway_grant WHERE app_id = :app_id ORDER BY ordinal;

-- name: grant_exists
SELECT 1 FROM gateway_grant WHERE app_id = :app_id AND api_id = :api_id;

-- name: delete_gateway_grant
DELETE FROM gateway_grant WHERE grant_id = :grant_id;
