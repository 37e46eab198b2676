-- Functions and their versions.

-- name: add_function
-- Fails on a name that the project has already, in whatever package.
INSERT INTO function (function_id, project_id, package, name, modified_at)
VALUES (:function_id, :project_id, :package, :name, :modified_at);

-- name: add_function_version
-- For `latest` with a new function, and for every published version.
INSERT INTO function_version (function_id, version, project_id, code_digest, code_size, secrets, document)
VALUES (:function_id, :version, :project_id, :code_digest, :code_size, :secrets, :document);

-- name: get_function_version
-- One version by the names in its urn.
SELECT v.document
FROM function AS f
JOIN function_version AS v ON v.function_id = f.function_id
WHERE f.project_id = :project_id AND f.name = :name AND f.package = :package AND v.version = :version;

-- name: function_exists
-- Whether a urn names a function.
SELECT 1
FROM function
WHERE project_id = :project_id AND name = :name AND package = :package;

-- name: find_functions
-- One page of a list. instr, because the part of the name comes from outside and LIKE would read patterns in it.
SELECT v.document
FROM (
    SELECT function_id, modified_at, name
    FROM function
    WHERE project_id = :project_id
        AND (:package = '' OR package = :package)
        AND (:name_part = '' OR instr(name, :name_part) > 0)
    ORDER BY modified_at DESC, name
    LIMIT :limit OFFSET :offset
) AS f
JOIN function_version AS v ON v.function_id = f.function_id AND v.version = :version
ORDER BY f.modified_at DESC, f.name;

-- name: count_functions
-- All matches of find_functions.
SELECT count(*)
FROM function
WHERE project_id = :project_id
    AND (:package = '' OR package = :package)
    AND (:name_part = '' OR instr(name, :name_part) > 0);

-- name: replace_function_version
-- New settings or code of `latest`.
UPDATE function_version
SET code_digest = :code_digest, code_size = :code_size, secrets = :secrets, document = :document
WHERE function_id = :function_id AND version = :version;

-- name: touch_function
-- Keeps the order of lists.
UPDATE function SET modified_at = :modified_at WHERE function_id = :function_id;

-- name: list_function_versions
-- `latest` first, then as published, newest first.
SELECT document
FROM function_version
WHERE function_id = :function_id
ORDER BY version = :latest DESC, version_id DESC;

-- name: delete_function
-- Versions, aliases and triggers go with it by their foreign keys.
DELETE FROM function WHERE function_id = :function_id;

-- name: delete_triggers_of_version
-- Those that name the version, and those that name an alias of it.
DELETE FROM function_trigger
WHERE function_id = :function_id
    AND (
        qualifier = :version
        OR qualifier IN (SELECT '!' || name FROM alias WHERE function_id = :function_id AND version = :version)
    );

-- name: delete_aliases_of_version
-- Those whose main version it is.
DELETE FROM alias WHERE function_id = :function_id AND version = :version;

-- name: delete_function_version
-- The version itself; `latest` lives as long as the function.
DELETE FROM function_version
WHERE function_id = :function_id AND version = :version AND version <> :latest;

-- name: get_project_usage
-- For the quotas: kept by triggers of the schema.
SELECT functions, code_bytes FROM project_usage WHERE project_id = :project_id;

-- name: list_packages
-- For the quota of packages and for lists.
SELECT DISTINCT package FROM function WHERE project_id = :project_id;

-- name: list_code_digests
-- What the clean-up of blobs must keep.
SELECT DISTINCT code_digest FROM function_version WHERE code_digest <> ''
UNION ALL
SELECT DISTINCT digest FROM dependency_version
UNION ALL
SELECT DISTINCT digest FROM function_dependency;

-- name: list_sealed_versions
-- For a new key. The first condition is that of the index.
SELECT version_id, document FROM function_version WHERE secrets > 0 AND secrets = 2;

-- name: list_versions_in_the_clear
-- What an older version of this server has stored.
SELECT version_id, document FROM function_version WHERE secrets > 0 AND secrets = 1;

-- name: put_sealed_version
-- The same version with its variables sealed in another way.
UPDATE function_version SET secrets = :secrets, document = :document WHERE version_id = :version_id;

-- name: list_subnets
-- For the quota. Read only when a function enters a network.
SELECT DISTINCT
    json_extract(document, '$.settings.echoed.func_vpc.vpc_id'),
    json_extract(document, '$.settings.echoed.func_vpc.subnet_id')
FROM function_version
WHERE project_id = :project_id AND json_extract(document, '$.settings.echoed.func_vpc.vpc_id') IS NOT NULL;
