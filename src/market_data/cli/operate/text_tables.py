"""Tables without lines, for results on standard output."""

from datetime import UTC, datetime

from rich.console import Console, RenderableType
from rich.table import Table

PIPED_WIDTH = 200
"""Columns if the output is not a terminal."""


def plain_table(*headings: str) -> Table:
    """Return an empty table with left-aligned columns that do not wrap."""
    table = Table(*headings, box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in table.columns:
        column.no_wrap = True
    return table


def format_time(moment: datetime | None) -> str:
    """Return a time in UTC, or ``never``."""
    return "never" if moment is None else f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"


def render(*parts: RenderableType) -> str:
    """Return the parts as text, with colours if the output is a terminal."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=PIPED_WIDTH)
    with console.capture() as capture:
        for part in parts:
            console.print(part)
    return "\n".join(line.rstrip() for line in capture.get().splitlines())
