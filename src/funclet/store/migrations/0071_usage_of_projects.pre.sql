-- A project has rows of its own, under its own id and without a version: reading them takes as long however many
-- functions it has.

INSERT INTO usage (
    project_id, function_id, version, span_s, begins_at, reports, runs, function_errors, system_errors, rejects,
    cold_starts, duration_ms, most_ms, least_ms, memory_bytes, most_memory_bytes, init_ms, mb_ms, reserved_mb_ms,
    idle_mb_ms, in_flight, instances, reserved
)
SELECT
    project_id, project_id, '', span_s, begins_at,
    sum(reports), sum(runs), sum(function_errors), sum(system_errors), sum(rejects), sum(cold_starts), sum(duration_ms),
    max(most_ms), coalesce(min(CASE WHEN runs > 0 THEN least_ms END), 0.0), sum(memory_bytes),
    max(most_memory_bytes), sum(init_ms), sum(mb_ms), sum(reserved_mb_ms), sum(idle_mb_ms), sum(in_flight),
    sum(instances), sum(reserved)
FROM usage
WHERE project_id <> ''
GROUP BY project_id, span_s, begins_at;
