"""How a running service is, in a few lines."""

import json
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any, NamedTuple

import httpx
import msgspec
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from market_data.cli.console import output
from market_data.cli.durations import format_short
from market_data.cli.operate.service_client import address, complaint, open_client, unanswered
from market_data.errors import CommandFailed

PIPED_WIDTH = 200
"""Columns where the output is no terminal."""

Body = dict[str, Any]


class Answer(NamedTuple):
    """What one path answers."""

    status: int
    body: Body


def show_status(url: str, *, as_json: bool) -> int:
    """Tell how the service is. The exit status: 0 where it is ready and its trades are not stale.

    Raises:
        CommandFailed: Nothing answers there, or something else than the service, or the service wants another key.
    """
    with open_client(url) as client:
        service, ready, ingestion = (_ask(client, path) for path in ("/", "/health/ready", "/status/ingestion"))
    if as_json:
        output(json.dumps({"service": service.body, "ready": ready.body, "ingestion": ingestion.body}, indent=2))
    else:
        _show(address(client.base_url), service.body, ready, ingestion)
    well = ready.status == 200 and ingestion.status == 200 and ingestion.body.get("ingestion_status") != "stale"
    return 0 if well else 1


def _ask(client: httpx.Client, path: str) -> Answer:
    try:
        response = client.get(path)
    except httpx.TransportError as error:
        raise unanswered(client, error) from None
    if response.status_code == HTTPStatus.UNAUTHORIZED:
        raise CommandFailed(complaint(response))
    try:
        body = msgspec.json.decode(response.content, type=Body)
    except msgspec.DecodeError:
        raise CommandFailed(complaint(response)) from None
    return Answer(response.status_code, body)


def _show(url: str, service: Body, ready: Answer, ingestion: Answer) -> None:
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=PIPED_WIDTH)
    summary = Table.grid(padding=(0, 2))
    summary.add_row("ready", *_readiness(ready))
    summary.add_row("ingestion", *_ingestion(ingestion))
    jobs: list[Body] = ingestion.body.get("jobs", [])
    failed = [job for job in jobs if job["last_status"] == "Failed"]
    if jobs:
        summary.add_row("jobs", *_summed_up(len(jobs), len(failed)))
    with console.capture() as capture:
        console.print(Text(f"{service.get('service', 'service')} {service.get('version', '')} at {url}", style="bold"))
        console.print(summary)
        for table in (_candles(ingestion.body.get("candles", [])), _jobs(failed)):
            if table.row_count:
                console.print("", table, sep="\n")
    output("\n".join(line.rstrip() for line in capture.get().splitlines()))


def _readiness(ready: Answer) -> tuple[RenderableType, RenderableType]:
    word = _word("yes" if ready.status == 200 else "no", good=ready.status == 200)
    checks: Body = ready.body.get("checks") or {}
    return word, Text(", ".join(f"{name}: {said}" for name, said in checks.items()) or str(ready.body.get("detail", "")))


def _ingestion(ingestion: Answer) -> tuple[RenderableType, RenderableType]:
    body = ingestion.body
    if ingestion.status != 200:
        return _word("unknown", good=False), Text(str(body.get("detail", "")))
    told = ["no trade yet"]
    if (age := body.get("seconds_since_last_trade")) is not None:
        told = [f"last trade {format_short(timedelta(seconds=age))} ago ({_time(body['last_trade'])})"]
    told.append(f"stale after {body['threshold_seconds']:g} s")
    told.append(f"fed by {body['feeding_replica']}" if body.get("feeding_replica") else "no feed runs")
    return _word(str(body["ingestion_status"]), good=body["ingestion_status"] != "stale"), Text(", ".join(told))


def _summed_up(jobs: int, failed: int) -> tuple[RenderableType, RenderableType]:
    if failed:
        return _word("failed", good=False), Text(f"{failed} of {jobs}; the database's log says why")
    return _word("fine", good=True), Text(f"{jobs}, of which none failed when it ran last")


def _candles(candles: list[Body]) -> Table:
    table = _table("candles", "materialized up to", "behind the newest trade")
    for each in candles:
        lag = "" if each["watermark"] is None else format_short(timedelta(seconds=each["lag_seconds"]))
        table.add_row(each["interval"], _time(each["watermark"]), lag)
    return table


def _jobs(jobs: list[Body]) -> Table:
    table = _table("failed job", "of", "last run", "next run")
    for each in jobs:
        table.add_row(each["job"], each["table"] or "", _time(each["last_run"]), _time(each["next_run"]))
    return table


def _table(*headings: str) -> Table:
    table = Table(*headings, box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in table.columns:
        column.no_wrap = True
    return table


def _word(word: str, *, good: bool) -> Text:
    return Text(word, style="green" if good else "bold red")


def _time(text: str | None) -> str:
    """A time of the service, to the second."""
    return "never" if text is None else f"{datetime.fromisoformat(text).astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"
