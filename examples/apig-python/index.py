"""Answers requests of the gateway: a status, headers and a body."""

import json


def handler(event, context):
    query = event.get("queryStringParameters") or {}
    return {
        "statusCode": 200,
        "headers": {"Content-Type": "application/json"},
        "body": json.dumps({"message": f"Hello, {query.get('name', 'world')}!", "path": event.get("path")}),
        "isBase64Encoded": False,
    }
