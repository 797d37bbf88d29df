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
        "and jobs of its database that fail or do not run. The exit status is 0 if the service is ready, its trades are not "
        "stale and its jobs run, else 1."
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
    return 0 if healthy and not _problems(ingestion.body.get("jobs", [])) else 1


def _problems(jobs: list[Body]) -> list[Body]:
    return [job for job in jobs if job["state"] not in {"ok", "unused", "pinned"}]


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
    problems = _problems(jobs)
    if jobs:
        summary.add_row("jobs", *_job_summary(len(jobs), len(problems)))
        summary.add_row("stale", *_stale_ranges(ingestion.body))
    title = Text(f"{service.get('service', 'service')} {service.get('version', '')} at {url}", style="bold")
    tables = [table for table in (_candles(ingestion.body.get("candles", []), jobs), _jobs(problems)) if table.row_count]
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


def _job_summary(jobs: int, problems: int) -> tuple[Text, Text]:
    if problems:
        return _word("not ok", good=False), Text(f"{problems} of {jobs}; `market-data doctor` shows errors and remedies")
    return _word("ok", good=True), Text(f"{jobs}, none failing, late or stopped")


def _stale_ranges(ingestion: Body) -> tuple[str, str]:
    age = ingestion["seconds_since_stale"]
    oldest = "" if age is None else f", the oldest for {format_short(timedelta(seconds=age))}"
    return f"{ingestion['stale_ranges']:,}", f"ranges of candles wait for a refresh{oldest}"


def _candles(candles: list[Body], jobs: list[Body]) -> Table:
    """Return how far each interval is materialized, and when its job runs next."""
    next_runs = {job["table"]: job["next_run"] for job in jobs if job["job"] == "policy_refresh_continuous_aggregate"}
    table = plain_table("candles", "materialized up to", "behind the newest trade", "next run")
    for each in candles:
        lag = "" if each["lag_seconds"] is None else format_short(timedelta(seconds=each["lag_seconds"]))
        next_run = next_runs.get(f"candles_{each['interval']}")
        table.add_row(each["interval"], _time(each["watermark"]), lag, _time(next_run) if next_run else "")
    return table


def _jobs(jobs: list[Body]) -> Table:
    table = plain_table("job", "of", "state", "failures in a row", "last success", "next run")
    for each in jobs:
        failures = str(each["failures_in_a_row"])
        last_success, next_run = _time(each["last_success"]), _time(each["next_run"])
        table.add_row(each["job"], each["table"] or "", each["state"], failures, last_success, next_run)
    return table


def _word(word: str, *, good: bool) -> Text:
    return Text(word, style="green" if good else "bold red")


def _time(text: str | None) -> str:
    return format_time(datetime.fromisoformat(text) if text else None)
