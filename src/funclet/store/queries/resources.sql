-- Test events, tags, applications, and what the API only remembers.

-- name: add_event
-- Fails on a name that the function has already.
INSERT INTO stored_event (event_id, function_id, name, content, modified_at)
VALUES (:event_id, :function_id, :name, :content, :modified_at);

-- name: replace_event
UPDATE stored_event
SET name = :name, content = :content, modified_at = :modified_at
WHERE function_id = :function_id AND event_id = :event_id;

-- name: get_event
SELECT event_id, function_id, name, content, modified_at
FROM stored_event
WHERE function_id = :function_id AND event_id = :event_id;

-- name: list_events
SELECT event_id, function_id, name, content, modified_at
FROM stored_event
WHERE function_id = :function_id
ORDER BY ordinal;

-- name: delete_event
DELETE FROM stored_event WHERE function_id = :function_id AND event_id = :event_id;

-- name: put_tag
INSERT INTO function_tag (function_id, key, value, project_id)
VALUES (:function_id, :key, :value, :project_id)
ON CONFLICT (function_id, key) DO UPDATE SET value = excluded.value;

-- name: remove_tag
DELETE FROM function_tag WHERE function_id = :function_id AND key = :key AND (:value IS NULL OR value = :value);

-- name: list_tags_of_function
SELECT key, value FROM function_tag WHERE function_id = :function_id ORDER BY key;

-- name: list_tags_of_project
-- From one key and value to the next by the index, however many functions have them.
WITH RECURSIVE
keys (key) AS (
    SELECT min(key) FROM function_tag WHERE project_id = :project_id
    UNION ALL
    SELECT (SELECT min(t.key) FROM function_tag AS t WHERE t.project_id = :project_id AND t.key > keys.key)
    FROM keys
    WHERE keys.key IS NOT NULL
),
pairs (key, value) AS (
    SELECT
        keys.key,
        (SELECT min(t.value) FROM function_tag AS t WHERE t.project_id = :project_id AND t.key = keys.key)
    FROM keys
    WHERE keys.key IS NOT NULL
    UNION ALL
    SELECT
        pairs.key,
        (
            SELECT min(t.value) FROM function_tag AS t
            WHERE t.project_id = :project_id AND t.key = pairs.key AND t.value > pairs.value
        )
    FROM pairs
    WHERE pairs.value IS NOT NULL
)
SELECT key, value FROM pairs WHERE value IS NOT NULL ORDER BY key, value;

-- name: count_tag
-- How many functions have a key with one of these values; an empty array: with any.
SELECT count(*) FROM (
    SELECT 1 FROM function_tag INDEXED BY function_tag_by_value
    WHERE project_id = :project_id
        AND key = :key
        AND (json_array_length(:values) = 0 OR value IN (SELECT value FROM json_each(:values)))
    LIMIT :most
);

-- name: find_tagged
-- One page, in the order of the functions. `wanted` is an array of [key, [value, ...]], `enterprise_project_ids` one
-- of texts; empty arrays want nothing.
SELECT
    json_extract(v.document, '$.region'),
    f.package,
    f.name,
    f.function_id,
    coalesce(json_extract(v.document, '$.settings.echoed.enterprise_project_id'), '0')
FROM (
    SELECT g.function_id, g.modified_at, g.name, g.package
    FROM function AS g
    WHERE g.project_id = :project_id
        AND (:name_part = '' OR instr(g.name, :name_part) > 0)
        AND NOT EXISTS (
            SELECT 1
            FROM json_each(:wanted) AS w
            WHERE NOT EXISTS (
                SELECT 1
                FROM function_tag AS t
                WHERE t.function_id = g.function_id
                    AND t.key = w.value ->> 0
                    AND (
                        json_array_length(w.value, '$[1]') = 0
                        OR t.value IN (SELECT e.value FROM json_each(w.value, '$[1]') AS e)
                    )
            )
        )
        AND (
            json_array_length(:enterprise_project_ids) = 0
            OR (
                SELECT coalesce(json_extract(d.document, '$.settings.echoed.enterprise_project_id'), '0')
                FROM function_version AS d
                WHERE d.function_id = g.function_id AND d.version = :latest
            ) IN (SELECT i.value FROM json_each(:enterprise_project_ids) AS i)
        )
    ORDER BY g.modified_at DESC, g.name
    LIMIT :limit OFFSET :offset
) AS f
JOIN function_version AS v ON v.function_id = f.function_id AND v.version = :latest
ORDER BY f.modified_at DESC, f.name;

-- name: count_tagged
-- All matches of find_tagged, up to a limit.
SELECT count(*) FROM (
    SELECT 1
    FROM function AS g
    WHERE g.project_id = :project_id
        AND (:name_part = '' OR instr(g.name, :name_part) > 0)
        AND NOT EXISTS (
            SELECT 1
            FROM json_each(:wanted) AS w
            WHERE NOT EXISTS (
                SELECT 1
                FROM function_tag AS t
                WHERE t.function_id = g.function_id
                    AND t.key = w.value ->> 0
                    AND (
                        json_array_length(w.value, '$[1]') = 0
                        OR t.value IN (SELECT e.value FROM json_each(w.value, '$[1]') AS e)
                    )
            )
        )
        AND (
            json_array_length(:enterprise_project_ids) = 0
            OR (
                SELECT coalesce(json_extract(d.document, '$.settings.echoed.enterprise_project_id'), '0')
                FROM function_version AS d
                WHERE d.function_id = g.function_id AND d.version = :latest
            ) IN (SELECT i.value FROM json_each(:enterprise_project_ids) AS i)
        )
    LIMIT :most
);

-- name: find_tagged_by_key
-- All matches of find_tagged, by a key that few functions have with the values that are wanted for it.
SELECT
    json_extract(v.document, '$.region'),
    f.package,
    f.name,
    f.function_id,
    coalesce(json_extract(v.document, '$.settings.echoed.enterprise_project_id'), '0')
FROM (
    SELECT g.function_id, g.modified_at, g.name, g.package
    FROM function_tag AS r INDEXED BY function_tag_by_value
    CROSS JOIN function AS g ON g.function_id = r.function_id
    WHERE r.project_id = :project_id AND r.key = :key
        AND (json_array_length(:values) = 0 OR r.value IN (SELECT value FROM json_each(:values)))
        AND (:name_part = '' OR instr(g.name, :name_part) > 0)
        AND NOT EXISTS (
            SELECT 1
            FROM json_each(:wanted) AS w
            WHERE NOT EXISTS (
                SELECT 1
                FROM function_tag AS t
                WHERE t.function_id = g.function_id
                    AND t.key = w.value ->> 0
                    AND (
                        json_array_length(w.value, '$[1]') = 0
                        OR t.value IN (SELECT e.value FROM json_each(w.value, '$[1]') AS e)
                    )
            )
        )
        AND (
            json_array_length(:enterprise_project_ids) = 0
            OR (
                SELECT coalesce(json_extract(d.document, '$.settings.echoed.enterprise_project_id'), '0')
                FROM function_version AS d
                WHERE d.function_id = g.function_id AND d.version = :latest
            ) IN (SELECT i.value FROM json_each(:enterprise_project_ids) AS i)
        )
    ORDER BY g.modified_at DESC, g.name
) AS f
JOIN function_version AS v ON v.function_id = f.function_id AND v.version = :latest
ORDER BY f.modified_at DESC, f.name;

-- name: find_untagged
-- One page of the functions that have no tag.
SELECT
    json_extract(v.document, '$.region'),
    f.package,
    f.name,
    f.function_id,
    coalesce(json_extract(v.document, '$.settings.echoed.enterprise_project_id'), '0')
FROM (
    SELECT g.function_id, g.modified_at, g.name, g.package
    FROM function AS g INDEXED BY function_untagged
    WHERE g.project_id = :project_id AND g.tag_count = 0
        AND (:name_part = '' OR instr(g.name, :name_part) > 0)
        AND NOT EXISTS (
            SELECT 1
            FROM json_each(:wanted) AS w
            WHERE NOT EXISTS (
                SELECT 1
                FROM function_tag AS t
                WHERE t.function_id = g.function_id
                    AND t.key = w.value ->> 0
                    AND (
                        json_array_length(w.value, '$[1]') = 0
                        OR t.value IN (SELECT e.value FROM json_each(w.value, '$[1]') AS e)
                    )
            )
        )
        AND (
            json_array_length(:enterprise_project_ids) = 0
            OR (
                SELECT coalesce(json_extract(d.document, '$.settings.echoed.enterprise_project_id'), '0')
                FROM function_version AS d
                WHERE d.function_id = g.function_id AND d.version = :latest
            ) IN (SELECT i.value FROM json_each(:enterprise_project_ids) AS i)
        )
    ORDER BY g.modified_at DESC, g.name
    LIMIT :limit OFFSET :offset
) AS f
JOIN function_version AS v ON v.function_id = f.function_id AND v.version = :latest
ORDER BY f.modified_at DESC, f.name;

-- name: count_untagged
-- All matches of find_untagged, up to a limit.
SELECT count(*) FROM (
    SELECT 1
    FROM function AS g INDEXED BY function_untagged
    WHERE g.project_id = :project_id AND g.tag_count = 0
        AND (:name_part = '' OR instr(g.name, :name_part) > 0)
        AND NOT EXISTS (
            SELECT 1
            FROM json_each(:wanted) AS w
            WHERE NOT EXISTS (
                SELECT 1
                FROM function_tag AS t
                WHERE t.function_id = g.function_id
                    AND t.key = w.value ->> 0
                    AND (
                        json_array_length(w.value, '$[1]') = 0
                        OR t.value IN (SELECT e.value FROM json_each(w.value, '$[1]') AS e)
                    )
            )
        )
        AND (
            json_array_length(:enterprise_project_ids) = 0
            OR (
                SELECT coalesce(json_extract(d.document, '$.settings.echoed.enterprise_project_id'), '0')
                FROM function_version AS d
                WHERE d.function_id = g.function_id AND d.version = :latest
            ) IN (SELECT i.value FROM json_each(:enterprise_project_ids) AS i)
        )
    LIMIT :most
);

-- name: add_application
-- Fails on a name that the project has already.
INSERT INTO application (application_id, project_id, name, document)
VALUES (:application_id, :project_id, :name, :document);

-- name: get_application
SELECT document FROM application WHERE application_id = :application_id AND project_id = :project_id;

-- name: list_applications
SELECT document FROM application WHERE project_id = :project_id ORDER BY ordinal LIMIT :limit OFFSET :offset;

-- name: count_applications
SELECT count(*) FROM application WHERE project_id = :project_id;

-- name: delete_application
DELETE FROM application WHERE application_id = :application_id;

-- name: add_log_reporting
INSERT INTO log_reporting (project_id, group_id, group_name)
VALUES (:project_id, :group_id, :group_name)
ON CONFLICT (project_id) DO NOTHING;

-- name: get_log_reporting
SELECT group_id, group_name FROM log_reporting WHERE project_id = :project_id;

-- name: put_tracing
INSERT INTO function_tracing (function_id, access_key, sealed_secret)
VALUES (:function_id, :access_key, :sealed_secret)
ON CONFLICT (function_id) DO UPDATE SET access_key = excluded.access_key, sealed_secret = excluded.sealed_secret;

-- name: get_tracing
SELECT access_key FROM function_tracing WHERE function_id = :function_id;

-- name: delete_tracing
DELETE FROM function_tracing WHERE function_id = :function_id;

-- name: list_sealed_tracing
SELECT function_id, sealed_secret FROM function_tracing;

-- name: seal_tracing
UPDATE function_tracing SET sealed_secret = :sealed_secret WHERE function_id = :function_id;

-- name: add_snapshot
INSERT INTO function_snapshot (function_id, version)
VALUES (:function_id, :version)
ON CONFLICT (function_id, version) DO NOTHING;

-- name: delete_snapshot
DELETE FROM function_snapshot WHERE function_id = :function_id AND version = :version;

-- name: snapshot_exists
SELECT 1 FROM function_snapshot WHERE function_id = :function_id AND version = :version;

-- name: put_endpoint
INSERT INTO vpc_endpoint (project_id, vpc_id, subnet_id, document)
VALUES (:project_id, :vpc_id, :subnet_id, :document)
ON CONFLICT (project_id, vpc_id, subnet_id) DO UPDATE SET document = excluded.document;

-- name: list_endpoints
SELECT document FROM vpc_endpoint WHERE project_id = :project_id ORDER BY vpc_id, subnet_id;

-- name: delete_endpoint
DELETE FROM vpc_endpoint WHERE project_id = :project_id AND vpc_id = :vpc_id AND subnet_id = :subnet_id;
