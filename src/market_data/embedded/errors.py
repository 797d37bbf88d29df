"""Errors of the embedded engine. Each message is one line for an operator and names the remedy."""


class EngineError(Exception):
    """The embedded engine can't be used."""


class EmbeddedUnavailable(EngineError):
    """The Python extra or the npm packages are missing and can't be installed."""


class EngineBusy(EngineError):
    """Another process runs the engine on this data directory."""
