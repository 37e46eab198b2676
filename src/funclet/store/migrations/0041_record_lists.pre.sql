-- Lists of records that failed, and how much a project has, without looking at every row.

-- Partial, so that the end of a request that went well leaves it alone.
CREATE INDEX submission_failed ON submission (function_id, status, accepted_at, submission_id)
WHERE status IN ('FAIL', 'DISCARD');

CREATE TABLE project_usage (
    project_id TEXT NOT NULL PRIMARY KEY,
    functions INTEGER NOT NULL,
    -- Of all versions.
    code_bytes INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO project_usage (project_id, functions, code_bytes)
SELECT f.project_id, count(*), coalesce(
    (SELECT sum(v.code_size) FROM function_version AS v WHERE v.project_id = f.project_id), 0
)
FROM function AS f
GROUP BY f.project_id;

CREATE TRIGGER usage_of_new_function AFTER INSERT ON function
BEGIN
    INSERT INTO project_usage (project_id, functions, code_bytes) VALUES (NEW.project_id, 1, 0)
    ON CONFLICT (project_id) DO UPDATE SET functions = functions + 1;
END;

CREATE TRIGGER usage_of_deleted_function AFTER DELETE ON function
BEGIN
    UPDATE project_usage SET functions = functions - 1 WHERE project_id = OLD.project_id;
END;

CREATE TRIGGER usage_of_new_version AFTER INSERT ON function_version
BEGIN
    UPDATE project_usage SET code_bytes = code_bytes + NEW.code_size WHERE project_id = NEW.project_id;
END;

CREATE TRIGGER usage_of_changed_version AFTER UPDATE OF code_size ON function_version
BEGIN
    UPDATE project_usage SET code_bytes = code_bytes + NEW.code_size - OLD.code_size WHERE project_id = NEW.project_id;
END;

CREATE TRIGGER usage_of_deleted_version AFTER DELETE ON function_version
BEGIN
    UPDATE project_usage SET code_bytes = code_bytes - OLD.code_size WHERE project_id = OLD.project_id;
END;
