-- What lists of the audit log and of dependencies need, so that a page takes as long however many there are.

CREATE INDEX trace_by_project ON trace (project_id, at);
CREATE INDEX trace_by_operation ON trace (project_id, operation, at);
CREATE INDEX trace_by_user ON trace (project_id, user_name, at);
CREATE INDEX trace_by_outcome ON trace (project_id, outcome, at) WHERE outcome <> 'done';

-- In the order of the list, with all that it filters on.
CREATE INDEX dependency_by_change ON dependency (project_id, modified_at DESC, name, runtime, dependency_id);
DROP INDEX dependency_public;
CREATE INDEX dependency_public ON dependency (modified_at DESC, name, project_id, runtime, dependency_id)
WHERE is_public = 1;
