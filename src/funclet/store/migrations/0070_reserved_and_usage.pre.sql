-- What functions keep ready, and what was used of them.

CREATE TABLE reserved_policy (
    function_id TEXT NOT NULL REFERENCES function (function_id) ON DELETE CASCADE,
    -- `latest`, a version, or `!alias`.
    qualifier TEXT NOT NULL,
    project_id TEXT NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (function_id, qualifier)
) STRICT, WITHOUT ROWID;

CREATE INDEX reserved_policy_by_project ON reserved_policy (project_id, function_id, qualifier);

-- A policy goes with what it is about, whoever deletes that.
CREATE TRIGGER reserved_policy_of_version AFTER DELETE ON function_version
BEGIN
    DELETE FROM reserved_policy WHERE function_id = old.function_id AND qualifier = old.version;
END;

CREATE TRIGGER reserved_policy_of_alias AFTER DELETE ON alias
BEGIN
    DELETE FROM reserved_policy WHERE function_id = old.function_id AND qualifier = '!' || old.name;
END;

-- No foreign key to the function: what was used is paid for after it has gone, too.
CREATE TABLE usage (
    usage_id INTEGER PRIMARY KEY,
    project_id TEXT NOT NULL,
    function_id TEXT NOT NULL,
    version TEXT NOT NULL,
    -- Length of the slot in seconds; 0 for a calendar month of UTC.
    span_s INTEGER NOT NULL,
    begins_at INTEGER NOT NULL,
    reports INTEGER NOT NULL,
    runs INTEGER NOT NULL,
    function_errors INTEGER NOT NULL,
    system_errors INTEGER NOT NULL,
    rejects INTEGER NOT NULL,
    cold_starts INTEGER NOT NULL,
    duration_ms REAL NOT NULL,
    most_ms REAL NOT NULL,
    least_ms REAL NOT NULL,
    memory_bytes INTEGER NOT NULL,
    most_memory_bytes INTEGER NOT NULL,
    init_ms INTEGER NOT NULL,
    mb_ms INTEGER NOT NULL,
    reserved_mb_ms INTEGER NOT NULL,
    idle_mb_ms INTEGER NOT NULL,
    in_flight INTEGER NOT NULL,
    instances INTEGER NOT NULL,
    reserved INTEGER NOT NULL,
    UNIQUE (function_id, span_s, begins_at, version)
) STRICT;

CREATE INDEX usage_by_project ON usage (project_id, span_s, begins_at);
CREATE INDEX usage_by_age ON usage (span_s, begins_at);
