-- Who may call: projects, users, access keys, tokens.

-- name: add_project
-- Once per project.
INSERT INTO project (project_id, name, domain_id, domain_name, state, state_reason)
VALUES (:project_id, :name, :domain_id, :domain_name, :state, :state_reason);

-- name: list_projects
-- In the order they were added.
SELECT project_id, name, domain_id, domain_name, state, state_reason FROM project ORDER BY ordinal;

-- name: set_project_state
UPDATE project SET state = :state, state_reason = :state_reason WHERE project_id = :project_id;

-- name: add_user
-- Fails on an id or a name that is taken.
INSERT INTO user (
    user_id, name, domain_id, password_hash, is_owner, is_enabled, description, email, created_at, last_login_at, issuer
)
VALUES (
    :user_id, :name, :domain_id, :password_hash, :is_owner, :is_enabled, :description, :email, :created_at,
    :last_login_at, :issuer
);

-- name: get_user
-- By id.
SELECT user_id, name, domain_id, password_hash, is_owner, is_enabled, description, email, created_at, last_login_at, issuer
FROM user WHERE user_id = :user_id;

-- name: get_user_named
-- By name, for a login.
SELECT user_id, name, domain_id, password_hash, is_owner, is_enabled, description, email, created_at, last_login_at, issuer
FROM user WHERE name = :name;

-- name: put_access_key
-- Store or replace.
INSERT INTO access_key (
    access, secret, user_id, project_id, security_token, expires_at, is_active, created_at, description
)
VALUES (:access, :secret, :user_id, :project_id, :security_token, :expires_at, :is_active, :created_at, :description)
ON CONFLICT (access) DO UPDATE
SET secret = excluded.secret,
    user_id = excluded.user_id,
    project_id = excluded.project_id,
    security_token = excluded.security_token,
    expires_at = excluded.expires_at,
    is_active = excluded.is_active,
    created_at = excluded.created_at,
    description = excluded.description;

-- name: get_access_key
-- For a signed request.
SELECT access, secret, user_id, project_id, security_token, expires_at, is_active, created_at, description
FROM access_key WHERE access = :access;

-- name: add_token
-- Only the digest of its text.
INSERT INTO token (digest, user_id, project_id, issued_at, expires_at)
VALUES (:digest, :user_id, :project_id, :issued_at, :expires_at);

-- name: get_token
-- For a request with a token.
SELECT digest, user_id, project_id, issued_at, expires_at FROM token WHERE digest = :digest;

-- name: forget_expired_tokens
-- House-keeping.
DELETE FROM token WHERE expires_at <= :now;

-- name: forget_expired_keys
-- House-keeping; permanent keys have no end.
DELETE FROM access_key WHERE expires_at <= :now;

-- name: count_contents
-- What somebody has put into a project, by kind. What only follows from it goes with it or by itself.
SELECT 'functions', count(*) FROM function WHERE project_id = :project_id
UNION ALL SELECT 'dependencies', count(*) FROM dependency WHERE project_id = :project_id
UNION ALL SELECT 'applications', count(*) FROM application WHERE project_id = :project_id
UNION ALL SELECT 'topics', count(*) FROM topic WHERE project_id = :project_id
UNION ALL SELECT 'streams', count(*) FROM stream WHERE project_id = :project_id
UNION ALL SELECT 'connections', count(*) FROM outside_connection WHERE project_id = :project_id
UNION ALL SELECT 'stored objects', count(*) FROM stored_object WHERE project_id = :project_id
UNION ALL SELECT 'VPC endpoints', count(*) FROM vpc_endpoint WHERE project_id = :project_id
UNION ALL SELECT 'authorizers', count(*) FROM gateway_authorizer WHERE project_id = :project_id
UNION ALL SELECT 'apps', count(*) FROM gateway_app WHERE project_id = :project_id
UNION ALL SELECT 'dead letters', count(*) FROM dead_letter WHERE project_id = :project_id
UNION ALL SELECT 'requests that wait', count(*) FROM submission WHERE project_id = :project_id AND ended_at IS NULL;

-- name: delete_project
DELETE FROM project WHERE project_id = :project_id;

-- name: delete_tokens_of_project
DELETE FROM token WHERE project_id = :project_id;

-- name: delete_grants_of_project
DELETE FROM iam_grant WHERE project_id = :project_id;

-- name: move_access_keys
UPDATE access_key SET project_id = :heir_id WHERE project_id = :project_id;

-- name: delete_log_reporting_of_project
DELETE FROM log_reporting WHERE project_id = :project_id;

-- name: delete_async_status_log_of_project
DELETE FROM async_status_log WHERE project_id = :project_id;
