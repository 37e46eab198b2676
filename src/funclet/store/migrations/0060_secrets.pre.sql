-- How the encrypted environment variables of a version are stored, so that those that must be sealed are found without
-- reading documents: 0 there are none, 1 in the clear (as older versions of the server wrote them), 2 sealed.
ALTER TABLE function_version ADD COLUMN secrets INTEGER NOT NULL DEFAULT 0;

UPDATE function_version SET secrets = 1
WHERE coalesce(json_extract(document, '$.settings.encrypted_user_data'), '') <> '';

CREATE INDEX function_version_by_secrets ON function_version (secrets) WHERE secrets > 0;
