"""Python imports this at its start, if the folder is in PYTHONPATH: it repairs `time.sleep` under libfaketime.

There it fails with EINVAL (libfaketime 0.9.10, Python 3.11), because it sleeps until a time of the monotonic clock, which is
not to be faked.
"""

import select
import time


def sleep(seconds: float) -> None:
    select.select([], [], [], seconds)


time.sleep = sleep
