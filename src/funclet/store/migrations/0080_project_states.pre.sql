-- What the operator allows in a project, and why.

ALTER TABLE project ADD COLUMN state TEXT NOT NULL DEFAULT 'normal';
ALTER TABLE project ADD COLUMN state_reason TEXT NOT NULL DEFAULT '';
