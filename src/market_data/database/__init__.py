"""Connections to the database, the pool for requests, read routing to a replica, migrations, metrics."""
