-- Users beside the owner of the account, what they may do, and who did what.

ALTER TABLE user ADD COLUMN is_owner INTEGER NOT NULL DEFAULT 0;
ALTER TABLE user ADD COLUMN is_enabled INTEGER NOT NULL DEFAULT 1;
ALTER TABLE user ADD COLUMN description TEXT NOT NULL DEFAULT '';
ALTER TABLE user ADD COLUMN email TEXT NOT NULL DEFAULT '';
ALTER TABLE user ADD COLUMN created_at REAL NOT NULL DEFAULT 0;
ALTER TABLE user ADD COLUMN last_login_at REAL;
-- Of an OIDC issuer; empty for users with a password.
ALTER TABLE user ADD COLUMN issuer TEXT NOT NULL DEFAULT '';

-- Until now there was nobody else.
UPDATE user SET is_owner = 1;

ALTER TABLE access_key ADD COLUMN is_active INTEGER NOT NULL DEFAULT 1;
ALTER TABLE access_key ADD COLUMN created_at REAL NOT NULL DEFAULT 0;
ALTER TABLE access_key ADD COLUMN description TEXT NOT NULL DEFAULT '';

CREATE INDEX access_key_by_user ON access_key (user_id);
CREATE INDEX token_by_user ON token (user_id);

-- Groups, policies and agencies.
CREATE TABLE iam_entry (
    entry_id TEXT NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    domain_id TEXT NOT NULL,
    name TEXT NOT NULL,
    document TEXT NOT NULL,
    UNIQUE (kind, domain_id, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE iam_member (
    group_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    PRIMARY KEY (group_id, user_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX iam_member_by_user ON iam_member (user_id);

CREATE TABLE iam_grant (
    -- A group or an agency.
    holder_id TEXT NOT NULL,
    -- A policy, or a role that every server has.
    role_id TEXT NOT NULL,
    -- Empty: all projects of the domain.
    project_id TEXT NOT NULL,
    PRIMARY KEY (holder_id, role_id, project_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX iam_grant_by_role ON iam_grant (role_id);

CREATE TABLE trace (
    trace_id INTEGER PRIMARY KEY,
    at REAL NOT NULL,
    project_id TEXT NOT NULL,
    user_name TEXT NOT NULL,
    operation TEXT NOT NULL,
    outcome TEXT NOT NULL CHECK (outcome IN ('done', 'denied', 'failed')),
    document TEXT NOT NULL
) STRICT;

CREATE INDEX trace_by_time ON trace (at);
