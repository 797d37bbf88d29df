"""Every SQL statement of the service on its tables, each above the short function that executes it.

The functions take a psycopg connection in autocommit mode and raise psycopg's errors. Ranges are half-open, symbols in
upper case, times timezone-aware.
"""
