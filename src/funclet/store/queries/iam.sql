-- Users in detail, groups, policies, agencies, and what they may do.

-- name: list_users
-- By name.
SELECT user_id, name, domain_id, password_hash, is_owner, is_enabled, description, email, created_at, last_login_at, issuer
FROM user WHERE domain_id = :domain_id ORDER BY name;

-- name: update_user
-- All but the id and the domain.
UPDATE user
SET name = :name, password_hash = :password_hash, is_owner = :is_owner, is_enabled = :is_enabled,
    description = :description, email = :email, last_login_at = :last_login_at
WHERE user_id = :user_id;

-- name: delete_user
DELETE FROM user WHERE user_id = :user_id;

-- name: list_access_keys
-- Of one user, oldest first.
SELECT access, secret, user_id, project_id, security_token, expires_at, is_active, created_at, description
FROM access_key WHERE user_id = :user_id ORDER BY created_at, access;

-- name: list_all_access_keys
-- To seal them.
SELECT access, secret FROM access_key;

-- name: set_secret
UPDATE access_key SET secret = :secret WHERE access = :access;

-- name: delete_access_key
DELETE FROM access_key WHERE access = :access;

-- name: delete_access_keys_of
DELETE FROM access_key WHERE user_id = :user_id;

-- name: delete_tokens_of
DELETE FROM token WHERE user_id = :user_id;

-- name: add_entry
INSERT INTO iam_entry (entry_id, kind, domain_id, name, document)
VALUES (:entry_id, :kind, :domain_id, :name, :document);

-- name: update_entry
UPDATE iam_entry SET name = :name, document = :document WHERE entry_id = :entry_id AND kind = :kind;

-- name: get_entry
SELECT document FROM iam_entry WHERE entry_id = :entry_id AND kind = :kind;

-- name: get_entry_named
SELECT document FROM iam_entry WHERE kind = :kind AND domain_id = :domain_id AND name = :name;

-- name: list_entries
-- By name.
SELECT document FROM iam_entry WHERE kind = :kind AND domain_id = :domain_id ORDER BY name;

-- name: delete_entry
DELETE FROM iam_entry WHERE entry_id = :entry_id AND kind = :kind;

-- name: add_member
INSERT OR IGNORE INTO iam_member (group_id, user_id) VALUES (:group_id, :user_id);

-- name: remove_member
DELETE FROM iam_member WHERE group_id = :group_id AND user_id = :user_id;

-- name: list_members
SELECT user_id FROM iam_member WHERE group_id = :group_id;

-- name: list_groups_of
SELECT group_id FROM iam_member WHERE user_id = :user_id;

-- name: delete_members_of_group
DELETE FROM iam_member WHERE group_id = :group_id;

-- name: delete_memberships_of
DELETE FROM iam_member WHERE user_id = :user_id;

-- name: add_grant
INSERT OR IGNORE INTO iam_grant (holder_id, role_id, project_id) VALUES (:holder_id, :role_id, :project_id);

-- name: iam_delete_grant
DELETE FROM iam_grant WHERE holder_id = :holder_id AND role_id = :role_id AND project_id = :project_id;

-- name: delete_grants_of
DELETE FROM iam_grant WHERE holder_id = :holder_id;

-- name: iam_list_grants
SELECT role_id, project_id FROM iam_grant WHERE holder_id = :holder_id ORDER BY role_id, project_id;

-- name: is_role_granted
SELECT EXISTS (SELECT 1 FROM iam_grant WHERE role_id = :role_id);
