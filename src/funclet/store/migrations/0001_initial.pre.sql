-- Functions, aliases, triggers, the queue, and who may call.
-- Times are seconds since the epoch. `document` is the JSON of the model value;
-- the columns beside it are what queries look at.

CREATE TABLE function (
    function_id TEXT NOT NULL PRIMARY KEY,
    project_id TEXT NOT NULL,
    package TEXT NOT NULL,
    name TEXT NOT NULL,
    -- Of the `latest` version, so that lists are ordered without reading documents.
    modified_at REAL NOT NULL,
    UNIQUE (project_id, name)
) STRICT;

-- Lists walk this index in their order and filter on it; the table is read for one page only.
CREATE INDEX function_by_change ON function (project_id, modified_at DESC, name, package, function_id);

CREATE TABLE function_version (
    version_id INTEGER PRIMARY KEY,
    function_id TEXT NOT NULL REFERENCES function (function_id) ON DELETE CASCADE,
    version TEXT NOT NULL,
    project_id TEXT NOT NULL,
    code_digest TEXT NOT NULL,
    code_size INTEGER NOT NULL,
    document TEXT NOT NULL,
    UNIQUE (function_id, version)
) STRICT;

CREATE INDEX function_version_by_size ON function_version (project_id, code_size);
CREATE INDEX function_version_by_code ON function_version (code_digest);

CREATE TABLE alias (
    function_id TEXT NOT NULL REFERENCES function (function_id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    version TEXT NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (function_id, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE function_trigger (
    ordinal INTEGER PRIMARY KEY,
    trigger_id TEXT NOT NULL UNIQUE,
    project_id TEXT NOT NULL,
    function_id TEXT NOT NULL REFERENCES function (function_id) ON DELETE CASCADE,
    -- `latest`, a version, or `!alias`.
    qualifier TEXT NOT NULL,
    type_code TEXT NOT NULL,
    status TEXT NOT NULL,
    created_at REAL NOT NULL,
    -- Up to when it has fired; null before its source first said so.
    position REAL,
    document TEXT NOT NULL
) STRICT;

CREATE INDEX function_trigger_by_function ON function_trigger (function_id, created_at);
CREATE INDEX function_trigger_by_project ON function_trigger (project_id, created_at);
CREATE INDEX function_trigger_by_type ON function_trigger (type_code, created_at);

-- No foreign key to the function: records outlive it.
CREATE TABLE submission (
    submission_id INTEGER PRIMARY KEY,
    request_id TEXT NOT NULL UNIQUE,
    project_id TEXT NOT NULL,
    function_id TEXT NOT NULL,
    urn TEXT NOT NULL,
    memory_mib INTEGER NOT NULL,
    accepted_at REAL NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('WAIT', 'RUNNING', 'SUCCESS', 'FAIL', 'DISCARD')),
    attempts INTEGER NOT NULL,
    due_at REAL NOT NULL,
    started_at REAL,
    ended_at REAL,
    error_code INTEGER NOT NULL,
    error_message TEXT NOT NULL
) STRICT;

-- Partial, so that leasing costs the same however many rows have ended.
CREATE INDEX submission_waiting ON submission (due_at, submission_id) WHERE status = 'WAIT';
CREATE INDEX submission_running ON submission (submission_id) WHERE status = 'RUNNING';
CREATE INDEX submission_ended ON submission (ended_at) WHERE ended_at IS NOT NULL;
-- In the order of lists, with all that they filter on.
CREATE INDEX submission_by_function ON submission (function_id, accepted_at, submission_id, status);

-- Apart from the row, because a change of status would write the payload again; gone when the row ends.
CREATE TABLE submission_payload (
    submission_id INTEGER PRIMARY KEY,
    payload BLOB NOT NULL
) STRICT;

CREATE TABLE project (
    ordinal INTEGER PRIMARY KEY,
    project_id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    domain_id TEXT NOT NULL,
    domain_name TEXT NOT NULL
) STRICT;

CREATE TABLE user (
    user_id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    domain_id TEXT NOT NULL,
    password_hash TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE access_key (
    access TEXT NOT NULL PRIMARY KEY,
    secret TEXT NOT NULL,
    user_id TEXT NOT NULL,
    project_id TEXT NOT NULL,
    security_token TEXT NOT NULL,
    expires_at REAL
) STRICT, WITHOUT ROWID;

CREATE INDEX access_key_by_end ON access_key (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE token (
    digest TEXT NOT NULL PRIMARY KEY,
    user_id TEXT NOT NULL,
    project_id TEXT NOT NULL,
    issued_at REAL NOT NULL,
    expires_at REAL NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX token_by_end ON token (expires_at);
