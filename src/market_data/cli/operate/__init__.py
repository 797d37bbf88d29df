"""Commands that run and watch the service."""
