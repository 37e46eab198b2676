-- What was used of functions, by slots of time.

-- name: add_usage
-- Adds to what is there.
INSERT INTO usage (
    project_id, function_id, version, span_s, begins_at, reports, runs, function_errors, system_errors, rejects,
    cold_starts, duration_ms, most_ms, least_ms, memory_bytes, most_memory_bytes, init_ms, mb_ms, reserved_mb_ms,
    idle_mb_ms, in_flight, instances, reserved
)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (function_id, span_s, begins_at, version) DO UPDATE SET
    reports = usage.reports + excluded.reports,
    runs = usage.runs + excluded.runs,
    function_errors = usage.function_errors + excluded.function_errors,
    system_errors = usage.system_errors + excluded.system_errors,
    rejects = usage.rejects + excluded.rejects,
    cold_starts = usage.cold_starts + excluded.cold_starts,
    duration_ms = usage.duration_ms + excluded.duration_ms,
    most_ms = max(usage.most_ms, excluded.most_ms),
    least_ms = CASE
        WHEN excluded.runs = 0 THEN usage.least_ms
        WHEN usage.runs = 0 THEN excluded.least_ms
        ELSE min(usage.least_ms, excluded.least_ms)
    END,
    memory_bytes = usage.memory_bytes + excluded.memory_bytes,
    most_memory_bytes = max(usage.most_memory_bytes, excluded.most_memory_bytes),
    init_ms = usage.init_ms + excluded.init_ms,
    mb_ms = usage.mb_ms + excluded.mb_ms,
    reserved_mb_ms = usage.reserved_mb_ms + excluded.reserved_mb_ms,
    idle_mb_ms = usage.idle_mb_ms + excluded.idle_mb_ms,
    in_flight = max(usage.in_flight, excluded.in_flight),
    instances = max(usage.instances, excluded.instances),
    reserved = max(usage.reserved, excluded.reserved);

-- name: usage_of_function
-- By slot. Versions of one function have their instances side by side. A project has one row for each slot.
SELECT
    begins_at,
    sum(reports), sum(runs), sum(function_errors), sum(system_errors), sum(rejects), sum(cold_starts), sum(duration_ms),
    max(most_ms), coalesce(min(CASE WHEN runs > 0 THEN least_ms END), 0.0), sum(memory_bytes),
    max(most_memory_bytes), sum(init_ms), sum(mb_ms), sum(reserved_mb_ms), sum(idle_mb_ms), sum(in_flight),
    sum(instances), sum(reserved)
FROM usage
WHERE function_id = :function_id AND span_s = :span_s AND begins_at >= :since AND begins_at < :until
    AND (:version = '' OR version = :version)
GROUP BY begins_at
ORDER BY begins_at;

-- name: usage_by_function
-- Of those that are there, over all slots.
SELECT
    f.package, f.name,
    sum(reports), sum(runs), sum(function_errors), sum(system_errors), sum(rejects), sum(cold_starts), sum(duration_ms),
    max(most_ms), coalesce(min(CASE WHEN runs > 0 THEN least_ms END), 0.0), sum(memory_bytes),
    max(most_memory_bytes), sum(init_ms), sum(mb_ms), sum(reserved_mb_ms), sum(idle_mb_ms), max(in_flight),
    max(instances), max(reserved)
FROM usage AS u
JOIN function AS f ON f.function_id = u.function_id
WHERE u.project_id = :project_id AND u.span_s = :span_s AND u.begins_at >= :since AND u.begins_at < :until
GROUP BY u.function_id
ORDER BY f.name;

-- name: projects_of_functions
-- Those that are there, and those that are remembered.
SELECT function_id, project_id FROM function WHERE function_id IN (SELECT value FROM json_each(:function_ids))
UNION
SELECT function_id, project_id FROM usage WHERE function_id IN (SELECT value FROM json_each(:function_ids));

-- name: count_usage
-- Of all lengths.
SELECT count(*) FROM usage;

-- name: prune_usage
-- The oldest of one length.
DELETE FROM usage
WHERE usage_id IN (
    SELECT usage_id FROM usage WHERE span_s = :span_s AND begins_at < :before ORDER BY begins_at LIMIT :limit
);
