"""Connections to the database: pool, retry, coalescing, replica, migrations, metrics."""
