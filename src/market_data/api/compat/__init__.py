"""Foreign protocols: clients of other market-data services work with this one once their base URL is changed.

Each protocol has a folder, and stands in `PROTOCOLS`. Nothing outside of this package knows them: it hands their dialects to
the middlewares, and their handlers to the application.
"""

from collections.abc import Mapping, Sequence
from typing import Final

PROTOCOLS: Final[Sequence[Protocol]] = ()
