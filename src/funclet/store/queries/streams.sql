-- Streams of the server's own, and the objects that destinations have stored.

-- name: add_stream
INSERT INTO stream (project_id, name, retention_s, max_bytes, created_at)
VALUES (:project_id, :name, :retention_s, :max_bytes, :created_at);

-- name: get_stream
SELECT project_id, name, retention_s, max_bytes, created_at FROM stream WHERE project_id = :project_id AND name = :name;

-- name: list_streams
SELECT project_id, name, retention_s, max_bytes, created_at
FROM stream
WHERE project_id = :project_id AND name > :after
ORDER BY name
LIMIT :limit;

-- name: count_streams
SELECT count(*) FROM stream WHERE project_id = :project_id;

-- name: delete_stream
DELETE FROM stream WHERE project_id = :project_id AND name = :name;

-- name: number_record
-- Room for one more record; its number.
UPDATE stream
SET last_sequence = last_sequence + 1, bytes = bytes + :size
WHERE project_id = :project_id AND name = :name
RETURNING stream_id, last_sequence, bytes - max_bytes;

-- name: find_record
-- One that has the same key.
SELECT r.sequence
FROM stream AS s
JOIN stream_record AS r ON r.stream_id = s.stream_id
WHERE s.project_id = :project_id AND s.name = :name AND r.dedup_key = :dedup_key AND r.dedup_key <> '';

-- name: add_record
INSERT INTO stream_record (stream_id, sequence, partition_key, at, size, data, dedup_key)
VALUES (:stream_id, :sequence, :partition_key, :at, :size, :data, :dedup_key);

-- name: oldest_records
SELECT sequence, size FROM stream_record WHERE stream_id = :stream_id ORDER BY sequence LIMIT :limit;

-- name: delete_records
DELETE FROM stream_record WHERE stream_id = :stream_id AND sequence <= :last;

-- name: shrink_stream
UPDATE stream SET bytes = bytes - :size WHERE stream_id = :stream_id;

-- name: expired_records
-- The oldest of each stream that are over its age.
SELECT r.stream_id, r.sequence, r.size
FROM stream_record AS r
JOIN stream AS s ON s.stream_id = r.stream_id
WHERE r.at < :now - s.retention_s
ORDER BY r.stream_id, r.sequence
LIMIT :limit;

-- name: read_records
SELECT r.sequence, r.partition_key, r.data, r.at
FROM stream_record AS r
JOIN stream AS s ON s.stream_id = r.stream_id
WHERE s.project_id = :project_id AND s.name = :name AND r.sequence > :after AND r.at >= :now - s.retention_s
ORDER BY r.sequence
LIMIT :limit;

-- name: stream_end
SELECT last_sequence FROM stream WHERE project_id = :project_id AND name = :name;

-- name: put_object
INSERT INTO stored_object (project_id, connection, bucket, key, size, written_at, expires_at)
VALUES (:project_id, :connection, :bucket, :key, :size, :written_at, :expires_at)
ON CONFLICT (project_id, connection, bucket, key) DO UPDATE
SET size = excluded.size, written_at = excluded.written_at, expires_at = excluded.expires_at;

-- name: list_objects
SELECT project_id, connection, bucket, key, size, written_at, expires_at
FROM stored_object
WHERE project_id = :project_id
    AND connection = ''
    AND bucket = :bucket
    AND key > :after
    AND substr(key, 1, length(:prefix)) = :prefix
ORDER BY key
LIMIT :limit;

-- name: sum_objects
SELECT coalesce(sum(size), 0) FROM stored_object WHERE project_id = :project_id AND connection = '';

-- name: expired_objects
SELECT project_id, connection, bucket, key, size, written_at, expires_at
FROM stored_object
WHERE expires_at <= :now
ORDER BY expires_at
LIMIT :limit;

-- name: forget_object
DELETE FROM stored_object
WHERE project_id = :project_id AND connection = :connection AND bucket = :bucket AND key = :key;

-- name: postpone_object
-- Its store could not be reached.
UPDATE stored_object
SET expires_at = :expires_at
WHERE project_id = :project_id AND connection = :connection AND bucket = :bucket AND key = :key;
