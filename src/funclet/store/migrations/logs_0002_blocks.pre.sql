-- Many records in one row: a row each cost more than the requests that they are about.

DROP TABLE log;

CREATE TABLE log_block (
    -- AUTOINCREMENT: an id is never given twice, because clients follow a log by it.
    block_id INTEGER PRIMARY KEY AUTOINCREMENT,
    -- Before the records: read without following them to their overflow pages.
    function_id TEXT NOT NULL,
    first_at REAL NOT NULL,
    last_at REAL NOT NULL,
    size INTEGER NOT NULL,
    -- MessagePack: an array of records, oldest first.
    records BLOB NOT NULL
) STRICT;

CREATE INDEX log_block_by_function ON log_block (function_id, block_id, first_at, last_at);
