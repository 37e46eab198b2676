-- The asynchronous queue: settings of versions, chains of requests, deliveries to destinations, dead letters.
-- Times are seconds since the epoch.

-- A lease is in memory only, so no row says RUNNING any more: what ran when a server ended waits again.
CREATE TABLE queued (
    submission_id INTEGER PRIMARY KEY,
    request_id TEXT NOT NULL UNIQUE,
    project_id TEXT NOT NULL,
    function_id TEXT NOT NULL,
    urn TEXT NOT NULL,
    memory_mib INTEGER NOT NULL,
    accepted_at REAL NOT NULL,
    -- The same moment on the clock of the queue, which does not step; ages and due times are on it.
    queued_at REAL NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('WAIT', 'SUCCESS', 'FAIL', 'DISCARD')),
    -- Runs that have ended.
    attempts INTEGER NOT NULL,
    -- Attempts in a row that the platform could not begin.
    refusals INTEGER NOT NULL,
    due_at REAL NOT NULL,
    started_at REAL,
    ended_at REAL,
    error_code INTEGER NOT NULL,
    error_message TEXT NOT NULL,
    payload_bytes INTEGER NOT NULL,
    source TEXT NOT NULL,
    -- Empty: this one.
    root_request_id TEXT NOT NULL,
    parent_request_id TEXT NOT NULL,
    depth INTEGER NOT NULL
) STRICT;

INSERT INTO queued
SELECT submission_id, request_id, project_id, function_id, urn, memory_mib, accepted_at, accepted_at,
    CASE status WHEN 'RUNNING' THEN 'WAIT' ELSE status END,
    attempts - (status = 'RUNNING'), 0, due_at, started_at, ended_at, error_code, error_message,
    coalesce((SELECT length(payload) FROM submission_payload AS p WHERE p.submission_id = s.submission_id), 0),
    'api', '', '', 0
FROM submission AS s;

DROP TABLE submission;
ALTER TABLE queued RENAME TO submission;

-- Each function is a queue of its own. With bytes and status, so that a start counts without reading rows.
CREATE INDEX submission_waiting ON submission (function_id, due_at, submission_id, payload_bytes, status)
WHERE status = 'WAIT';
CREATE INDEX submission_ended ON submission (ended_at) WHERE ended_at IS NOT NULL;
-- In the order of lists. Without the status, so that the end of a request leaves it alone.
CREATE INDEX submission_by_function ON submission (function_id, accepted_at, submission_id);
CREATE INDEX submission_by_parent ON submission (parent_request_id) WHERE parent_request_id <> '';

-- What clients have sent twice.
CREATE TABLE submission_dedup (
    function_id TEXT NOT NULL,
    qualifier TEXT NOT NULL,
    dedup_id TEXT NOT NULL,
    request_id TEXT NOT NULL,
    queued_at REAL NOT NULL,
    PRIMARY KEY (function_id, qualifier, dedup_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX submission_dedup_by_age ON submission_dedup (queued_at);

CREATE TABLE async_config (
    function_id TEXT NOT NULL REFERENCES function (function_id) ON DELETE CASCADE,
    version TEXT NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (function_id, version)
) STRICT, WITHOUT ROWID;

-- One notification on its way to a destination; its document apart, and gone when it was sent.
CREATE TABLE delivery (
    delivery_id INTEGER PRIMARY KEY,
    request_id TEXT NOT NULL,
    project_id TEXT NOT NULL,
    function_id TEXT NOT NULL,
    function_urn TEXT NOT NULL,
    is_success INTEGER NOT NULL,
    kind TEXT NOT NULL,
    param TEXT NOT NULL,
    root_request_id TEXT NOT NULL,
    depth INTEGER NOT NULL,
    request_ended_at REAL NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('WAIT', 'SENT', 'DEAD')),
    tries INTEGER NOT NULL,
    due_at REAL NOT NULL,
    ended_at REAL,
    error_message TEXT NOT NULL
) STRICT;

CREATE INDEX delivery_waiting ON delivery (due_at, delivery_id) WHERE status = 'WAIT';
CREATE INDEX delivery_ended ON delivery (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX delivery_by_request ON delivery (request_id);

CREATE TABLE delivery_document (
    delivery_id INTEGER PRIMARY KEY,
    document BLOB NOT NULL
) STRICT;

-- Final failures that nobody was told of.
CREATE TABLE dead_letter (
    letter_id INTEGER PRIMARY KEY,
    project_id TEXT NOT NULL,
    function_id TEXT NOT NULL,
    function_urn TEXT NOT NULL,
    request_id TEXT NOT NULL,
    reason TEXT NOT NULL,
    -- Kind and members of the destination that could not be reached; empty if there was none.
    kind TEXT NOT NULL,
    param TEXT NOT NULL,
    is_success INTEGER NOT NULL,
    root_request_id TEXT NOT NULL,
    depth INTEGER NOT NULL,
    first_seen REAL NOT NULL,
    document BLOB NOT NULL
) STRICT;

CREATE INDEX dead_letter_by_project ON dead_letter (project_id, letter_id);
CREATE INDEX dead_letter_by_age ON dead_letter (first_seen);

-- Where a project sees the status log, once it is enabled.
CREATE TABLE async_status_log (
    project_id TEXT NOT NULL PRIMARY KEY,
    group_id TEXT NOT NULL,
    stream_id TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE async_status_line (
    line_id INTEGER PRIMARY KEY,
    project_id TEXT NOT NULL,
    request_id TEXT NOT NULL,
    at REAL NOT NULL,
    document TEXT NOT NULL
) STRICT;

CREATE INDEX async_status_line_by_project ON async_status_line (project_id, line_id);
CREATE INDEX async_status_line_by_age ON async_status_line (at);
