"""The OpenAPI document that the server publishes of itself. Start with `document.render`."""
