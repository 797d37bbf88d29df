"""The request path: one ASGI middleware a file."""
