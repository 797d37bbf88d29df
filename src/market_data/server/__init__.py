"""Uvicorn: start, workers, signals and the HTTP protocol."""
