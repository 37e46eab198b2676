import json


def handler(event, context):
    """Send the event back. `context.getLogger()` writes to the log of the function."""
    context.getLogger().info("request %s", context.getRequestID())
    return {
        "statusCode": 200,
        "isBase64Encoded": False,
        "headers": {"Content-Type": "application/json"},
        "body": json.dumps(event),
    }
