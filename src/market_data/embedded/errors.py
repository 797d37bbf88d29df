"""What can go wrong with the embedded engine.

EngineError                 one line, fit to print to an operator
├── EmbeddedUnavailable     its packages are not installed and can't be
└── EngineBusy              another process has the data directory
"""


class EngineError(Exception):
    """The embedded engine can't be used. The message is one line and says what to do."""


class EmbeddedUnavailable(EngineError):
    """The packages the engine needs are missing: the Python extra, or the npm packages."""


class EngineBusy(EngineError):
    """Another process runs the engine on this data directory."""
