"""Every statement that the service runs on its tables, each above the short function that runs it.

The functions take a psycopg connection in autocommit mode. Ranges are half-open, read_symbols in upper case, times aware.
Errors are psycopg's.
"""
