"""Show the state of a running service."""

import argparse
import json
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any, NamedTuple

import httpx
import msgspec
from rich.table import Table
from rich.text import Text

from market_data.cli.console import output
from market_data.cli.durations import format_short
from market_data.cli.operate.service_client import add_url_argument, display_url, error_detail, open_client, unreachable
from market_data.cli.operate.text_tables import format_time, plain_table, render
from market_data.errors import CommandFailed
from market_data.settings import Settings

Body = dict[str, Any]


class Response(NamedTuple):
    """Response to a GET request."""

    status: int
    body: Body


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Show whether a running service is ready, the age of its latest trade, how far its candles are materialized, "
        "and its failed jobs. The exit status is 0 if the service is ready and its trades are not stale, else 1."
    )
    parser.add_argument("--json", action="store_true", help="print the responses of the service as one JSON object")
    add_url_argument(parser)
    parser.set_defaults(command=_run)


def _run(_: Settings, parsed: argparse.Namespace) -> int:
    with open_client(parsed.url) as client:
        service, ready, ingestion = (_get(client, path) for path in ("/", "/health/ready", "/status/ingestion"))
    if parsed.json:
        output(json.dumps({"service": service.body, "ready": ready.body, "ingestion": ingestion.body}, indent=2))
    else:
        _print_status(display_url(client.base_url), service.body, ready, ingestion)
    healthy = ready.status == 200 and ingestion.status == 200 and ingestion.body.get("ingestion_status") != "stale"
    return 0 if healthy else 1


def _get(client: httpx.Client, path: str) -> Response:
    try:
        response = client.get(path)
    except httpx.TransportError as error:
        raise unreachable(client, error) from None
    if response.status_code == HTTPStatus.UNAUTHORIZED:
        raise CommandFailed(error_detail(response))
    try:
        body = msgspec.json.decode(response.content, type=Body)
    except msgspec.DecodeError:
        raise CommandFailed(error_detail(response)) from None
    return Response(response.status_code, body)


def _print_status(url: str, service: Body, ready: Response, ingestion: Response) -> None:
    summary = Table.grid(padding=(0, 2))
    summary.add_row("ready", *_readiness(ready))
    summary.add_row("ingestion", *_ingestion(ingestion))
    jobs: list[Body] = ingestion.body.get("jobs", [])
    failed = [job for job in jobs if job["last_status"] == "Failed"]
    if jobs:
        summary.add_row("jobs", *_job_summary(len(jobs), len(failed)))
    title = Text(f"{service.get('service', 'service')} {service.get('version', '')} at {url}", style="bold")
    tables = [table for table in (_candles(ingestion.body.get("candles", [])), _jobs(failed)) if table.row_count]
    output(render(title, summary, *(part for table in tables for part in ("", table))))


def _readiness(ready: Response) -> tuple[Text, Text]:
    word = _word("yes" if ready.status == 200 else "no", good=ready.status == 200)
    checks: Body = ready.body.get("checks") or {}
    return word, Text(", ".join(f"{name}: {state}" for name, state in checks.items()) or str(ready.body.get("detail", "")))


def _ingestion(ingestion: Response) -> tuple[Text, Text]:
    body = ingestion.body
    if ingestion.status != 200:
        return _word("unknown", good=False), Text(str(body.get("detail", "")))
    parts = ["no trade yet"]
    if (age := body.get("seconds_since_last_trade")) is not None:
        parts = [f"last trade {format_short(timedelta(seconds=age))} ago ({_time(body['last_trade'])})"]
    parts.append(f"stale after {body['threshold_seconds']:g} s")
    parts.append(f"fed by {body['feeding_replica']}" if body.get("feeding_replica") else "no feed runs")
    return _word(str(body["ingestion_status"]), good=body["ingestion_status"] != "stale"), Text(", ".join(parts))


def _job_summary(jobs: int, failed: int) -> tuple[Text, Text]:
    if failed:
        return _word("failed", good=False), Text(f"{failed} of {jobs}; see the log of the database")
    return _word("ok", good=True), Text(f"{jobs}, none failed in its last run")


def _candles(candles: list[Body]) -> Table:
    table = plain_table("candles", "materialized up to", "behind the newest trade")
    for each in candles:
        lag = "" if each["watermark"] is None else format_short(timedelta(seconds=each["lag_seconds"]))
        table.add_row(each["interval"], _time(each["watermark"]), lag)
    return table


def _jobs(jobs: list[Body]) -> Table:
    table = plain_table("failed job", "of", "last run", "next run")
    for each in jobs:
        table.add_row(each["job"], each["table"] or "", _time(each["last_run"]), _time(each["next_run"]))
    return table


def _word(word: str, *, good: bool) -> Text:
    return Text(word, style="green" if good else "bold red")


def _time(text: str | None) -> str:
    return format_time(datetime.fromisoformat(text) if text else None)
