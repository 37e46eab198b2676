-- Dependencies, their versions, and who uses them.

-- name: add_dependency
INSERT INTO dependency (dependency_id, project_id, name, runtime, is_public, last_number, modified_at)
VALUES (:dependency_id, :project_id, :name, :runtime, 0, 0, :modified_at);

-- name: change_dependency
-- Name and runtime, which all its versions share.
UPDATE dependency
SET name = :name, runtime = :runtime, modified_at = :modified_at
WHERE dependency_id = :dependency_id;

-- name: share_dependency
UPDATE dependency SET is_public = :is_public WHERE dependency_id = :dependency_id;

-- name: add_dependency_version
INSERT INTO dependency_version (
    version_id, dependency_id, number, description, digest, size, etag, link, filename, modified_at
)
VALUES (:version_id, :dependency_id, :number, :description, :digest, :size, :etag, :link, :filename, :modified_at);

-- name: count_dependency_up
UPDATE dependency SET last_number = :number, modified_at = :modified_at WHERE dependency_id = :dependency_id;

-- name: last_dependency_number
SELECT last_number FROM dependency WHERE dependency_id = :dependency_id;

-- name: change_dependency_version
UPDATE dependency_version
SET description = :description, digest = :digest, size = :size, etag = :etag, link = :link, filename = :filename,
    modified_at = :modified_at
WHERE version_id = :version_id;

-- name: get_dependency_version
-- By its own id.
SELECT v.version_id, d.dependency_id, d.project_id, d.name, d.runtime, d.is_public, v.number, v.description,
    v.digest, v.size, v.etag, v.link, v.filename, v.modified_at
FROM dependency_version AS v
JOIN dependency AS d ON d.dependency_id = v.dependency_id
WHERE v.version_id = :version_id;

-- name: get_dependency_versions
-- Those that an answer shows, by a JSON array of ids.
SELECT v.version_id, d.dependency_id, d.project_id, d.name, d.runtime, d.is_public, v.number, v.description,
    v.digest, v.size, v.etag, v.link, v.filename, v.modified_at
FROM json_each(:version_ids) AS wanted
JOIN dependency_version AS v ON v.version_id = wanted.value
JOIN dependency AS d ON d.dependency_id = v.dependency_id;

-- name: list_dependency_versions
-- Newest first.
SELECT v.version_id, d.dependency_id, d.project_id, d.name, d.runtime, d.is_public, v.number, v.description,
    v.digest, v.size, v.etag, v.link, v.filename, v.modified_at
FROM dependency AS d
JOIN dependency_version AS v ON v.dependency_id = d.dependency_id
WHERE d.dependency_id = :dependency_id
ORDER BY v.number DESC;

-- name: get_dependency_named
SELECT dependency_id FROM dependency WHERE project_id = :project_id AND name = :name;

-- name: find_dependencies
-- One page of a list, each with its newest version. instr, because LIKE would read patterns in the name.
-- Both halves come in the order of an index, and are read only as far as the page goes.
SELECT v.version_id, d.dependency_id, d.project_id, d.name, d.runtime, d.is_public, v.number, v.description,
    v.digest, v.size, v.etag, v.link, v.filename, v.modified_at
FROM (
    SELECT dependency_id, modified_at, name
    FROM dependency
    WHERE :own AND project_id = :project_id
        AND (:runtime = '' OR runtime = :runtime)
        AND (:name_part = '' OR instr(name, :name_part) > 0)
    UNION ALL
    SELECT dependency_id, modified_at, name
    FROM dependency
    WHERE is_public = 1 AND :public AND NOT (:own AND project_id = :project_id)
        AND (:runtime = '' OR runtime = :runtime)
        AND (:name_part = '' OR instr(name, :name_part) > 0)
    ORDER BY modified_at DESC, name
    LIMIT :limit OFFSET :offset
) AS page
JOIN dependency AS d ON d.dependency_id = page.dependency_id
JOIN dependency_version AS v ON v.dependency_id = d.dependency_id
    AND v.number = (SELECT max(number) FROM dependency_version WHERE dependency_id = d.dependency_id)
ORDER BY page.modified_at DESC, page.name;

-- name: count_dependencies
-- All matches of find_dependencies.
SELECT
    (
        SELECT count(*)
        FROM dependency
        WHERE :own AND project_id = :project_id
            AND (:runtime = '' OR runtime = :runtime)
            AND (:name_part = '' OR instr(name, :name_part) > 0)
    ) + (
        SELECT count(*)
        FROM dependency
        WHERE is_public = 1 AND :public AND NOT (:own AND project_id = :project_id)
            AND (:runtime = '' OR runtime = :runtime)
            AND (:name_part = '' OR instr(name, :name_part) > 0)
    );

-- name: sum_dependencies_of_project
-- For the quota: bytes of all versions.
SELECT coalesce(sum(v.size), 0)
FROM dependency AS d
JOIN dependency_version AS v ON v.dependency_id = d.dependency_id
WHERE d.project_id = :project_id;

-- name: delete_dependency_version
DELETE FROM dependency_version WHERE version_id = :version_id;

-- name: delete_empty_dependency
-- A dependency lives as long as one of its versions.
DELETE FROM dependency
WHERE dependency_id = :dependency_id
    AND NOT EXISTS (SELECT 1 FROM dependency_version WHERE dependency_id = :dependency_id);

-- name: list_dependency_users
-- Which versions of functions use one version of a dependency.
SELECT f.project_id, f.package, f.name, u.version
FROM function_dependency AS u
JOIN function AS f ON f.function_id = u.function_id
WHERE u.dependency_version_id = :version_id
ORDER BY f.name, u.version;

-- name: forget_function_dependencies
DELETE FROM function_dependency WHERE function_id = :function_id AND version = :version;

-- name: add_function_dependency
INSERT INTO function_dependency (function_id, version, dependency_version_id, digest)
VALUES (:function_id, :version, :dependency_version_id, :digest);

-- name: list_layered_versions
-- Those whose unpacked code is put together from several archives.
SELECT v.document
FROM function_version AS v
WHERE EXISTS (
    SELECT 1 FROM function_dependency AS u WHERE u.function_id = v.function_id AND u.version = v.version
);
