-- What destinations write to: topics with their subscriptions and pending messages, streams, stored objects,
-- and how systems outside are reached. Secrets are sealed (vault.py).

CREATE TABLE topic (
    topic_id INTEGER PRIMARY KEY,
    region TEXT NOT NULL,
    project_id TEXT NOT NULL,
    name TEXT NOT NULL,
    display_name TEXT NOT NULL,
    created_at REAL NOT NULL,
    UNIQUE (project_id, name)
) STRICT;

CREATE TABLE subscription (
    ordinal INTEGER PRIMARY KEY,
    subscription_id TEXT NOT NULL UNIQUE,
    topic_id INTEGER NOT NULL REFERENCES topic (topic_id) ON DELETE CASCADE,
    protocol TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    remark TEXT NOT NULL,
    status TEXT NOT NULL,
    sealed_secret BLOB NOT NULL,
    token_digest TEXT NOT NULL,
    token_expires_at REAL NOT NULL,
    created_at REAL NOT NULL,
    failures INTEGER NOT NULL DEFAULT 0,
    last_error TEXT NOT NULL DEFAULT '',
    UNIQUE (topic_id, endpoint)
) STRICT;

-- One row for all its subscribers; gone when the last of them has it.
CREATE TABLE topic_message (
    message_id TEXT NOT NULL PRIMARY KEY,
    topic_id INTEGER NOT NULL REFERENCES topic (topic_id) ON DELETE CASCADE,
    document TEXT NOT NULL
) STRICT;

CREATE INDEX topic_message_by_topic ON topic_message (topic_id);

CREATE TABLE topic_push (
    push_id INTEGER PRIMARY KEY,
    message_id TEXT NOT NULL REFERENCES topic_message (message_id) ON DELETE CASCADE,
    subscription_id TEXT NOT NULL REFERENCES subscription (subscription_id) ON DELETE CASCADE,
    attempts INTEGER NOT NULL DEFAULT 0,
    due_at REAL NOT NULL
) STRICT;

CREATE INDEX topic_push_by_due ON topic_push (due_at, push_id);
CREATE INDEX topic_push_by_message ON topic_push (message_id);
CREATE INDEX topic_push_by_subscription ON topic_push (subscription_id);

CREATE TABLE stream (
    stream_id INTEGER PRIMARY KEY,
    project_id TEXT NOT NULL,
    name TEXT NOT NULL,
    retention_s REAL NOT NULL,
    max_bytes INTEGER NOT NULL,
    created_at REAL NOT NULL,
    -- Kept here, because numbers are not given twice when all records have gone.
    last_sequence INTEGER NOT NULL DEFAULT 0,
    bytes INTEGER NOT NULL DEFAULT 0,
    UNIQUE (project_id, name)
) STRICT;

CREATE TABLE stream_record (
    stream_id INTEGER NOT NULL REFERENCES stream (stream_id) ON DELETE CASCADE,
    sequence INTEGER NOT NULL,
    partition_key TEXT NOT NULL,
    at REAL NOT NULL,
    size INTEGER NOT NULL,
    data BLOB NOT NULL,
    PRIMARY KEY (stream_id, sequence)
) STRICT, WITHOUT ROWID;

-- Everything in the data folder; of other stores only what has to be deleted one day.
CREATE TABLE stored_object (
    project_id TEXT NOT NULL,
    connection TEXT NOT NULL,
    bucket TEXT NOT NULL,
    key TEXT NOT NULL,
    size INTEGER NOT NULL,
    written_at REAL NOT NULL,
    expires_at REAL,
    PRIMARY KEY (project_id, connection, bucket, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX stored_object_by_end ON stored_object (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX stored_object_by_size ON stored_object (project_id, connection, size);

CREATE TABLE outside_connection (
    project_id TEXT NOT NULL,
    name TEXT NOT NULL,
    sealed_secret BLOB NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (project_id, name)
) STRICT, WITHOUT ROWID;
