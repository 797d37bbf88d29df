"""Names of instruments over time, as one worker keeps them in memory.

The key of an instrument, `trades.symbol`, never changes: it is the name under which it was added. Only renamed instruments
have rows in `symbol_names`; most databases have none, and then nothing here costs anything.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from typing import Final, NamedTuple

SYMBOL_MEMBER: Final = re.compile(r'(?<="symbol":")[^"]*')

FIRST: Final = datetime.min.replace(tzinfo=UTC)
LAST: Final = datetime.max.replace(tzinfo=UTC)


class NameRange(NamedTuple):
    """A name that an instrument had for a time."""

    name: str
    symbol: str
    """Key of the instrument."""
    since: datetime | None
    """Inclusive; None: since ever."""
    until: datetime | None
    """Exclusive; None for the present name."""

    def contains(self, at: datetime) -> bool:
        """Return True if the instrument had the name at a time."""
        return (self.since or FIRST) <= at < (self.until or LAST)


class Names:
    """The names of all renamed instruments."""

    def __init__(self, ranges: Iterable[NameRange] = ()) -> None:
        self.is_loaded = False
        """False until the names have been read from the database."""
        self._by_name: Mapping[str, Sequence[NameRange]] = {}
        self._by_key: Mapping[str, Sequence[NameRange]] = {}
        self._present: Mapping[str, str] = {}
        """Present names by key, where the two differ."""
        if ranges:
            self.replace(ranges)

    def replace(self, ranges: Iterable[NameRange]) -> None:
        """Replace all names, by those that were read."""
        by_name, by_key = defaultdict[str, list[NameRange]](list), defaultdict[str, list[NameRange]](list)
        for each in sorted(ranges, key=lambda each: each.since or FIRST):
            by_name[each.name].append(each)
            by_key[each.symbol].append(each)
        self._by_name, self._by_key = dict(by_name), dict(by_key)
        self._present = {key: names[-1].name for key, names in by_key.items() if names[-1].name != key}
        self.is_loaded = True

    def __bool__(self) -> bool:
        return bool(self._by_name)

    def name_of(self, key: str) -> str:
        """Return the present name of an instrument."""
        return self._present.get(key, key)

    def names_of(self, key: str) -> Sequence[NameRange]:
        """Return all names of an instrument, the oldest first."""
        return self._by_key.get(key) or [NameRange(key, key, None, None)]

    def changes(self) -> Iterator[tuple[NameRange, NameRange]]:
        """Yield each name that an instrument has had, with the next one."""
        for names in self._by_key.values():
            yield from pairwise(names)

    def is_renamed(self, key: str) -> bool:
        """Return True if an instrument has had several names, or one that another instrument had before."""
        return key in self._by_key

    def ranges_of(self, name: str) -> Sequence[NameRange]:
        """Return the ranges of time in which instruments that have rows had a name, the oldest first."""
        return self._by_name.get(name, ())

    def key_of(self, name: str) -> str:
        """Return the key of the instrument that has a name, or had it last."""
        ranges = self._by_name.get(name)
        return max(ranges, key=lambda each: each.until or LAST).symbol if ranges else name

    def key_at(self, name: str, at: datetime) -> str:
        """Return the key of the instrument that had a name at a time; if none had it then, as `key_of`.

        The function `symbol_of` of the database is the same.
        """
        return next((each.symbol for each in self._by_name.get(name, ()) if each.contains(at)), self.key_of(name))

    def key_on(self, name: str, day: date) -> str | None:
        """Return the key of the instrument that had a name on a day (in UTC), the last one of that day; None without one."""
        ranges = self._by_name.get(name)
        if not ranges:
            return name
        start = datetime.combine(day, time(), UTC)
        end = start + timedelta(days=1) if day < date.max else LAST
        found = [each for each in ranges if (each.since or FIRST) < end and start < (each.until or LAST)]
        return found[-1].symbol if found else None

    def rename_json(self, text: str, names: Mapping[str, str] | None = None) -> str:
        """Return JSON with present names, or others by key, in place of the keys in its members `symbol`."""
        shown = self._present if names is None else names
        return SYMBOL_MEMBER.sub(lambda found: shown.get(found[0], found[0]), text) if shown else text

    def rename_rows(self, key: str, text: str) -> str:
        """Return the JSON of rows of one instrument with its present name, ten times as fast as `rename_json`."""
        name = self._present.get(key)
        return text.replace(f'"symbol":"{key}"', f'"symbol":"{name}"') if name else text

    def rename_lines(self, key: str, text: str) -> str:
        """Return the lines of a CSV file, all of which begin with a key, with its present name."""
        name = self._present.get(key)
        return re.sub(rf"^{re.escape(key)},", f"{name},", text, flags=re.MULTILINE) if name else text


NO_NAMES: Final = Names()
