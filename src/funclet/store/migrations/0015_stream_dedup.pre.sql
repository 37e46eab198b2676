-- A notification that is sent again is in its stream already.
ALTER TABLE stream_record ADD COLUMN dedup_key TEXT NOT NULL DEFAULT '';

CREATE UNIQUE INDEX stream_record_by_dedup_key ON stream_record (stream_id, dedup_key) WHERE dedup_key <> '';
