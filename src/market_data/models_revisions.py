"""Structs of revisions: closed candles that have changed."""

from datetime import datetime
from typing import Annotated, Literal

from msgspec import UNSET, Struct, UnsetType

from market_data.models import (
    BucketStart,
    Candle,
    Count,
    IntervalName,
    NextPageToken,
    RenamedSymbols,
    RenamedTo,
    SymbolName,
    doc,
)

Version = Annotated[int, doc("Version of the change, as in `Data-Version`.", 412)]
ChangedAt = Annotated[datetime, doc("Time at which the change was committed.", "2026-02-08T11:00:00Z")]


class Revision(Struct, frozen=True, kw_only=True):
    """A change of a closed candle; or, with `cause` `reload`, of bulk history."""

    symbol: SymbolName
    interval: IntervalName
    timestamp: BucketStart | UnsetType = UNSET
    version: Version
    changed_at: ChangedAt
    cause: Annotated[
        Literal["late", "correct", "cancel", "reload"],
        doc(
            "`late`: trades were stored after the bucket had ended; `correct` or `cancel`: trades were corrected or "
            "cancelled; `reload`: history was loaded, changed or deleted in bulk. Then `start` and `end` are there instead "
            "of `timestamp`, `before` and `after`: read the candles of that range again.",
            "late",
        ),
    ]
    before: Annotated[Candle | None, doc("The candle before the change; null if there was none.")] | UnsetType = UNSET
    after: Annotated[Candle | None, doc("The candle after the change; null if there is none any more.")] | UnsetType = UNSET
    start: Annotated[datetime, doc("Of a `reload`: start of the first bucket.", "2026-02-01T00:00:00Z")] | UnsetType = UNSET
    end: Annotated[datetime, doc("Of a `reload`: end of the last bucket.", "2026-02-08T00:00:00Z")] | UnsetType = UNSET
    actor: Annotated[
        str | None,
        doc("Name of the API key, or database role, that corrected or cancelled trades; null for `late`.", "desk"),
    ]
    reason: Annotated[str | None, doc("Reason that was given; null without one.", "fat finger")]


class RevisionList(Struct, frozen=True):
    """Changes of closed candles, sorted by symbol, then by version and time."""

    revisions: Annotated[list[Revision], doc("The changes.")]
    count: Count
    version: Annotated[
        int,
        doc("Version up to which the pages list all changes: send it as `since_version` to read the next ones.", 412),
    ]
    next_page_token: NextPageToken
    renamed_to: RenamedSymbols = UNSET


class RevisedBucket(Struct, frozen=True):
    """A bucket in which trades changed after it had ended."""

    timestamp: BucketStart
    changed_at: Annotated[datetime, doc("Time at which the newest change was committed.", "2026-02-08T11:00:00Z")]
    change_count: Annotated[
        int, doc("Number of the statements that stored, corrected or cancelled trades of the bucket.", 1)
    ]


class RevisedBuckets(Struct, frozen=True):
    """Buckets of a symbol that were changed after they had ended, sorted by time."""

    symbol: SymbolName
    interval: IntervalName
    start: Annotated[datetime, doc("Start of the range, inclusive.", "2026-02-08T10:00:00Z")]
    end: Annotated[datetime, doc("End of the range, exclusive.", "2026-02-08T11:00:00Z")]
    buckets: Annotated[list[RevisedBucket], doc("The buckets.")]
    count: Count
    renamed_to: RenamedTo = UNSET


class RevisionEvent(Struct, frozen=True):
    """The changes of closed candles of a symbol by one version: the event `revision` of a stream."""

    symbol: SymbolName
    version: Version
    revisions: Annotated[list[Revision], doc("The changes, of all stored intervals.")]
