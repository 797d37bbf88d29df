"""Let Python sleep under libfaketime, which takes the deadline of `time.sleep` for a wrong one if it leaves monotonic
clocks alone. Python imports this module at its start if its folder is in PYTHONPATH."""

import select
import time

time.sleep = lambda seconds: select.select((), (), (), seconds) and None
