-- Dependencies, their versions, and which versions of functions use them.

CREATE TABLE dependency (
    dependency_id TEXT NOT NULL PRIMARY KEY,
    project_id TEXT NOT NULL,
    name TEXT NOT NULL,
    runtime TEXT NOT NULL,
    is_public INTEGER NOT NULL,
    -- Numbers of deleted versions are not used again.
    last_number INTEGER NOT NULL,
    -- Of its newest version, so that lists are ordered without reading versions.
    modified_at REAL NOT NULL,
    UNIQUE (project_id, name)
) STRICT;

CREATE INDEX dependency_public ON dependency (dependency_id) WHERE is_public = 1;

CREATE TABLE dependency_version (
    version_id TEXT NOT NULL PRIMARY KEY,
    dependency_id TEXT NOT NULL REFERENCES dependency (dependency_id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    description TEXT NOT NULL,
    digest TEXT NOT NULL,
    size INTEGER NOT NULL,
    etag TEXT NOT NULL,
    link TEXT NOT NULL,
    filename TEXT NOT NULL,
    modified_at REAL NOT NULL,
    UNIQUE (dependency_id, number)
) STRICT;

CREATE INDEX dependency_version_by_digest ON dependency_version (digest);

-- Written with each version of a function, from its document. A published version keeps the digest that it was
-- published with, so it can differ from the one of the dependency.
CREATE TABLE function_dependency (
    function_id TEXT NOT NULL,
    version TEXT NOT NULL,
    dependency_version_id TEXT NOT NULL REFERENCES dependency_version (version_id),
    digest TEXT NOT NULL,
    PRIMARY KEY (function_id, version, dependency_version_id),
    FOREIGN KEY (function_id, version) REFERENCES function_version (function_id, version) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE INDEX function_dependency_by_dependency ON function_dependency (dependency_version_id);
CREATE INDEX function_dependency_by_digest ON function_dependency (digest);
