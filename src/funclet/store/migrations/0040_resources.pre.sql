-- What hangs on functions and projects beside code and settings: test events, tags, applications made from templates,
-- and what the API only has to remember. Times are seconds since the epoch.

CREATE TABLE stored_event (
    ordinal INTEGER PRIMARY KEY,
    event_id TEXT NOT NULL UNIQUE,
    function_id TEXT NOT NULL REFERENCES function (function_id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    content BLOB NOT NULL,
    modified_at REAL NOT NULL,
    UNIQUE (function_id, name)
) STRICT;

CREATE TABLE function_tag (
    function_id TEXT NOT NULL REFERENCES function (function_id) ON DELETE CASCADE,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    project_id TEXT NOT NULL,
    PRIMARY KEY (function_id, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX function_tag_by_value ON function_tag (project_id, key, value);

-- So that functions without tags are found by an index of their own.
ALTER TABLE function ADD COLUMN tag_count INTEGER NOT NULL DEFAULT 0;

CREATE INDEX function_untagged ON function (project_id, modified_at DESC, name) WHERE tag_count = 0;

CREATE TRIGGER count_of_new_tag AFTER INSERT ON function_tag
BEGIN
    UPDATE function SET tag_count = tag_count + 1 WHERE function_id = NEW.function_id;
END;

CREATE TRIGGER count_of_deleted_tag AFTER DELETE ON function_tag
BEGIN
    UPDATE function SET tag_count = tag_count - 1 WHERE function_id = OLD.function_id;
END;

CREATE TABLE application (
    ordinal INTEGER PRIMARY KEY,
    application_id TEXT NOT NULL UNIQUE,
    project_id TEXT NOT NULL,
    name TEXT NOT NULL,
    document TEXT NOT NULL,
    UNIQUE (project_id, name)
) STRICT;

CREATE INDEX application_by_project ON application (project_id, ordinal);

-- Once logs are reported; where they are seen.
CREATE TABLE log_reporting (
    project_id TEXT NOT NULL PRIMARY KEY,
    group_id TEXT NOT NULL,
    group_name TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE function_tracing (
    function_id TEXT NOT NULL PRIMARY KEY REFERENCES function (function_id) ON DELETE CASCADE,
    access_key TEXT NOT NULL,
    sealed_secret BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- Versions whose switch is on.
CREATE TABLE function_snapshot (
    function_id TEXT NOT NULL,
    version TEXT NOT NULL,
    PRIMARY KEY (function_id, version),
    FOREIGN KEY (function_id, version) REFERENCES function_version (function_id, version) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE TABLE vpc_endpoint (
    project_id TEXT NOT NULL,
    vpc_id TEXT NOT NULL,
    subnet_id TEXT NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (project_id, vpc_id, subnet_id)
) STRICT, WITHOUT ROWID;
