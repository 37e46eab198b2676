-- Logs of functions, in the order they were written.

CREATE TABLE log (
    -- AUTOINCREMENT: an id is never given twice, because clients follow a log by it.
    log_id INTEGER PRIMARY KEY AUTOINCREMENT,
    -- Before the text: read without following it to its overflow pages.
    at REAL NOT NULL,
    function_id TEXT NOT NULL,
    version TEXT NOT NULL,
    request_id TEXT NOT NULL,
    outcome TEXT NOT NULL,
    duration_ms REAL NOT NULL,
    is_cold INTEGER NOT NULL,
    labels TEXT NOT NULL,
    text TEXT NOT NULL
) STRICT;

-- With the time in it, so that a span of time is found without reading texts.
CREATE INDEX log_by_function ON log (function_id, log_id, at);
CREATE INDEX log_by_request ON log (function_id, request_id);
