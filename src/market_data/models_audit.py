"""Structs of the audit."""

from datetime import datetime
from typing import Annotated, Any, Literal

from msgspec import Struct

from market_data.models import IntervalName, SymbolName, doc


class AuditDifference(Struct, frozen=True):
    """A difference that the audit has found."""

    kind: Annotated[
        Literal["candle", "latest_price", "trades"],
        doc(
            "A `candle` or `latest_price` that was not that of the trades, which is repaired; or `trades` of a commit that "
            "are not those of the transparency log, from which nothing is repaired.",
            "candle",
        ),
    ]
    symbol: SymbolName | None
    interval: IntervalName | None
    timestamp: Annotated[datetime | None, doc("Start of the bucket of the candle.", "2026-02-08T10:30:00Z")]
    version: Annotated[int | None, doc("Version of the commit whose trades differ.", 4120)]
    stored: Annotated[Any, doc("As it was found: the row, or the entry that the trades lead to and some of the trades.")]
    expected: Annotated[Any, doc("Computed from the trades; or the entry of the log.")]
    found_at: Annotated[datetime, doc("Time at which it was found first.", "2026-02-08T11:00:00Z")]
    seen_at: Annotated[datetime, doc("Time at which it was found last.", "2026-02-08T11:00:00Z")]
    repaired_at: Annotated[datetime | None, doc("Time since which it is right again; null while it differs.")]


class AuditStatus(Struct, frozen=True):
    """Extent and result of the audit."""

    share: Annotated[float, doc("Share of the time in which the audit works, `AUDIT_SHARE`; 0 if it is off.", 0.02)]
    verified_since: Annotated[
        datetime | None,
        doc(
            "All candles from this UTC day on have been compared with the trades; null before the first day.",
            "2026-02-08T00:00:00Z",
        ),
    ]
    candles_verified_at: Annotated[
        datetime | None, doc("The comparison of the day that was compared longest ago.", "2026-02-08T11:00:00Z")
    ]
    candles: Annotated[int, doc("Candles that were compared, each counted once.", 43200)]
    verified_since_version: Annotated[
        int | None, doc("All commits from this version on have been compared with the transparency log.", 12)
    ]
    versions_verified_at: Annotated[datetime | None, doc("The comparison of the commits that were compared longest ago.")]
    commits: Annotated[int, doc("Commits that were compared, each counted once.", 4120)]
    differences: Annotated[int, doc("Differences found so far.", 0)]
    open_differences: Annotated[int, doc("Those that are not repaired.", 0)]
    examples: Annotated[list[AuditDifference], doc("At most 20 of them: those not repaired first, the newest first.")]
