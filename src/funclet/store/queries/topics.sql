-- Topics, their subscriptions, and messages on their way.

-- name: add_topic
INSERT INTO topic (region, project_id, name, display_name, created_at)
VALUES (:region, :project_id, :name, :display_name, :created_at);

-- name: get_topic
SELECT region, project_id, name, display_name, created_at FROM topic WHERE project_id = :project_id AND name = :name;

-- name: list_topics
SELECT region, project_id, name, display_name, created_at
FROM topic
WHERE project_id = :project_id
ORDER BY name
LIMIT :limit OFFSET :offset;

-- name: count_topics
SELECT count(*) FROM topic WHERE project_id = :project_id;

-- name: delete_topic
DELETE FROM topic WHERE project_id = :project_id AND name = :name;

-- name: put_subscription
-- One for each address of a topic: asking again renews the one that is there.
INSERT INTO subscription (
    subscription_id, topic_id, protocol, endpoint, remark, status, sealed_secret, token_digest, token_expires_at,
    created_at
)
SELECT :subscription_id, topic_id, :protocol, :endpoint, :remark, :status, :sealed_secret, :token_digest,
    :token_expires_at, :created_at
FROM topic
WHERE project_id = :project_id AND name = :topic_name
ON CONFLICT (topic_id, endpoint) DO UPDATE
SET remark = excluded.remark,
    status = excluded.status,
    sealed_secret = excluded.sealed_secret,
    token_digest = excluded.token_digest,
    token_expires_at = excluded.token_expires_at;

-- name: get_subscription
SELECT s.subscription_id, t.name, t.project_id, s.protocol, s.endpoint, s.remark, s.status, s.sealed_secret,
    s.token_digest, s.token_expires_at, s.created_at, s.failures, s.last_error
FROM subscription AS s
JOIN topic AS t ON t.topic_id = s.topic_id
WHERE s.subscription_id = :subscription_id;

-- name: find_subscriptions
-- Of a topic, or of the project when no topic is named.
SELECT s.subscription_id, t.name, t.project_id, s.protocol, s.endpoint, s.remark, s.status, s.sealed_secret,
    s.token_digest, s.token_expires_at, s.created_at, s.failures, s.last_error
FROM subscription AS s
JOIN topic AS t ON t.topic_id = s.topic_id
WHERE t.project_id = :project_id AND (:topic_name = '' OR t.name = :topic_name)
ORDER BY s.ordinal;

-- name: confirm_subscription
UPDATE subscription
SET status = 'confirmed', token_digest = ''
WHERE subscription_id = (
    SELECT s.subscription_id
    FROM subscription AS s
    JOIN topic AS t ON t.topic_id = s.topic_id
    WHERE t.project_id = :project_id
        AND t.name = :topic_name
        AND s.token_digest = :token_digest
        AND s.token_expires_at > :now
)
RETURNING subscription_id;

-- name: delete_subscription
DELETE FROM subscription WHERE subscription_id = :subscription_id;

-- name: note_failed_push
-- A message was given up.
UPDATE subscription SET failures = failures + 1, last_error = :error WHERE subscription_id = :subscription_id;

-- name: list_sealed_subscriptions
SELECT subscription_id, sealed_secret FROM subscription;

-- name: seal_subscription
UPDATE subscription SET sealed_secret = :sealed_secret WHERE subscription_id = :subscription_id;

-- name: add_message
-- Once for each id: what is published again with the same one is on its way already.
INSERT OR IGNORE INTO topic_message (message_id, topic_id, document)
SELECT :message_id, topic_id, :document FROM topic WHERE project_id = :project_id AND name = :name;

-- name: push_to_confirmed
INSERT INTO topic_push (message_id, subscription_id, due_at)
SELECT :message_id, s.subscription_id, :due_at
FROM subscription AS s
JOIN topic AS t ON t.topic_id = s.topic_id
WHERE t.project_id = :project_id AND t.name = :name AND s.status = 'confirmed'
ORDER BY s.ordinal;

-- name: push_to_one
INSERT INTO topic_push (message_id, subscription_id, due_at) VALUES (:message_id, :subscription_id, :due_at);

-- name: count_pushes
SELECT count(*)
FROM topic_push AS p
JOIN topic_message AS m ON m.message_id = p.message_id
JOIN topic AS t ON t.topic_id = m.topic_id
WHERE t.project_id = :project_id AND t.name = :name;

-- name: due_pushes
-- Oldest due first, without the subscriptions that are busy and the pushes that are under way.
SELECT p.push_id, p.attempts, m.document, p.subscription_id
FROM topic_push AS p
JOIN topic_message AS m ON m.message_id = p.message_id
WHERE p.due_at <= :now
    AND p.subscription_id NOT IN (SELECT value FROM json_each(:busy))
    AND p.push_id NOT IN (SELECT value FROM json_each(:under_way))
ORDER BY p.due_at, p.push_id
LIMIT :limit;

-- name: next_push_due
-- Of those that are not under way.
SELECT due_at FROM topic_push WHERE push_id NOT IN (SELECT value FROM json_each(:under_way)) ORDER BY due_at LIMIT 1;

-- name: delete_push
DELETE FROM topic_push WHERE push_id = :push_id RETURNING message_id;

-- name: postpone_push
UPDATE topic_push SET attempts = attempts + 1, due_at = :due_at WHERE push_id = :push_id;

-- name: delete_message_without_pushes
DELETE FROM topic_message
WHERE message_id = :message_id AND NOT EXISTS (SELECT 1 FROM topic_push WHERE message_id = :message_id);

-- name: delete_messages_without_pushes
-- What subscriptions that were deleted have left.
DELETE FROM topic_message
WHERE message_id NOT IN (SELECT message_id FROM topic_push);
