"""How many requests may be under way at once: so many that the last of them is answered soon. Further ones are refused.

Otherwise, once more come than a worker can answer, each new one waits longer than the one before it, and in the end all are
answered too late. What a request takes of the processor is measured while there are many: a worker does one thing at a time,
so whoever comes waits for as long as those before it take together.
"""

import time
from typing import Final

LONGEST_SECONDS: Final = 0.1
"""How long a request may have to wait for those before it."""

FEW: Final = 32
"""So many are never too many."""

SAMPLE: Final = 32
"""Requests that are measured together, if they come within `SAMPLE_SECONDS`: else the processor did other things as well."""
SAMPLE_SECONDS: Final = 1.0

REFUSAL: Final = 1 / 6
"""What a refusal takes of the processor, in small reads."""


class LoadShedder:
    """The requests under way in one worker, whose number its owner knows."""

    def __init__(self) -> None:
        self._request_seconds = 0.0
        self._weight = 0.0
        self._since = self._processor_since = 0.0

    def takes(self, under_way: int) -> bool:
        """Whether one more finds its answer soon, behind those that are under way."""
        takes = under_way <= FEW or under_way * self._request_seconds <= LONGEST_SECONDS
        self._weight += 1 if takes else REFUSAL
        if self._weight >= SAMPLE:
            self._measure()
        return takes

    def _measure(self) -> None:
        """See what the last ones took."""
        now, processor = time.monotonic(), time.thread_time()
        if now - self._since < SAMPLE_SECONDS:
            self._request_seconds += ((processor - self._processor_since) / self._weight - self._request_seconds) / 4
        self._weight, self._since, self._processor_since = 0, now, processor
