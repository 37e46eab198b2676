-- Custom authorizers of the gateway, and apps that may call APIs. Secrets are sealed (vault.py).

CREATE TABLE gateway_authorizer (
    authorizer_id TEXT NOT NULL PRIMARY KEY,
    project_id TEXT NOT NULL,
    name TEXT NOT NULL,
    document TEXT NOT NULL,
    UNIQUE (project_id, name)
) STRICT;

CREATE TABLE gateway_app (
    app_id TEXT NOT NULL PRIMARY KEY,
    project_id TEXT NOT NULL,
    name TEXT NOT NULL,
    app_key TEXT NOT NULL UNIQUE,
    document TEXT NOT NULL,
    UNIQUE (project_id, name)
) STRICT;

CREATE TABLE gateway_app_code (
    ordinal INTEGER PRIMARY KEY,
    code_id TEXT NOT NULL UNIQUE,
    app_id TEXT NOT NULL REFERENCES gateway_app (app_id) ON DELETE CASCADE,
    -- SHA-256 of the code, which requests carry.
    digest TEXT NOT NULL UNIQUE,
    document TEXT NOT NULL
) STRICT;

CREATE INDEX gateway_app_code_by_app ON gateway_app_code (app_id);

CREATE TABLE gateway_grant (
    ordinal INTEGER PRIMARY KEY,
    grant_id TEXT NOT NULL UNIQUE,
    app_id TEXT NOT NULL REFERENCES gateway_app (app_id) ON DELETE CASCADE,
    api_id TEXT NOT NULL,
    document TEXT NOT NULL,
    UNIQUE (app_id, api_id)
) STRICT;
