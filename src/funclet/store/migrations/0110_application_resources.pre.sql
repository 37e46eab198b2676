-- Applications are made of more than functions: each thing is listed with its kind. The list of functions stays for
-- older servers.

UPDATE application
SET document = json_set(
    document,
    '$.resources',
    (
        SELECT json_group_array(
            json_object(
                'kind', 'function',
                'logical_name', substr(json_extract(part.value, '$.name'), length(application.name) + 2),
                'name', json_extract(part.value, '$.name'),
                'resource_id', json_extract(part.value, '$.function_id')
            )
        )
        FROM json_each(application.document, '$.functions') AS part
    )
);
