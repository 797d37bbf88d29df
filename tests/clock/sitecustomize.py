"""Let Python sleep under libfaketime, which refuses the deadline of `time.sleep` if it leaves the monotonic clock alone.

Python imports this module at its start if its folder is in PYTHONPATH.
"""

import select
import time
from typing import Any


def _sleep(seconds: Any, /) -> None:
    select.select((), (), (), seconds)


time.sleep = _sleep
