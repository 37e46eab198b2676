"""Greets whoever the event names."""


def handler(event, context):
    name = event.get("name", "world")
    context.getLogger().info("greeting %s", name)
    return {"message": f"Hello, {name}!"}
