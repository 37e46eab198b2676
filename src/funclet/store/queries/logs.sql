-- Logs of functions, in blocks of records.

-- name: add_log_block
-- Records of one function, oldest first.
INSERT INTO log_block (function_id, first_at, last_at, size, records)
VALUES (:function_id, :first_at, :last_at, :size, :records);

-- name: newest_log_blocks
-- From the end of the log backwards.
SELECT block_id, records
FROM log_block
WHERE function_id = :function_id AND last_at >= :since AND (:until IS NULL OR first_at <= :until)
ORDER BY block_id DESC;

-- name: next_log_blocks
-- From the block of a record that the caller has onwards.
SELECT block_id, records
FROM log_block
WHERE function_id = :function_id AND block_id >= :from_id
    AND last_at >= :since AND (:until IS NULL OR first_at <= :until)
ORDER BY block_id;

-- name: oldest_log_blocks
-- What goes first when the file is too large.
SELECT block_id, size FROM log_block ORDER BY block_id LIMIT :limit;

-- name: delete_log_blocks
-- Up to and with a block.
DELETE FROM log_block WHERE block_id <= :last_id;

-- name: delete_expired_log_blocks
-- Only looks at the oldest, because ids grow with time.
DELETE FROM log_block
WHERE block_id IN (SELECT block_id FROM log_block ORDER BY block_id LIMIT :limit) AND last_at < :before;
