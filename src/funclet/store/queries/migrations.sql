-- What has been applied to this database.

-- name: create_migration_table
-- First of all, in every database.
CREATE TABLE IF NOT EXISTS migration (
    name TEXT NOT NULL PRIMARY KEY
) STRICT;

-- name: applied_migrations
-- Names of the files that were applied.
SELECT name FROM migration ORDER BY name;

-- name: add_migration
-- In the transaction that applies the file.
INSERT INTO migration (name) VALUES (:name);
