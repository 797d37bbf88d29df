"""Replays at `/stream` and `/ws`: their parameters."""

from datetime import UTC, datetime
from typing import Any

from litestar.connection import ASGIConnection

from market_data.api.http.parameter_types import TimeBound
from market_data.api.stream_commands import Command
from market_data.errors import BadParameters
from market_data.models import ParameterProblem
from market_data.services import services_of
from market_data.streaming.clients import Client
from market_data.streaming.events import EventId
from market_data.streaming.playback.player import Player
from market_data.streaming.playback.replays import ReplayOrder, ReplayRequest
from market_data.streaming.subscriptions import REVISIONS, Subscription
from market_data.trade_validation import rfc3339

ONLY_REPLAYS = "belongs to a replay; give from=, the time at which it begins, as well"
NO_RESUME = (
    "resumes the live stream, and can't be combined with from; continue a replay with the time that it reached as from"
)


NO_REVISIONS = "can't have revisions in order=time, which plays the trades as they are now; order=known has them"


def read_replay(
    start: TimeBound | None,
    end: TimeBound | None,
    speed: float | None,
    order: ReplayOrder | None,
    last_event_ids: dict[str, EventId | None],
) -> ReplayRequest | None:
    """Return the replay that a client asks for; None for the live stream. `last_event_ids` are by parameter.

    Raises:
        BadParameters: Parameters contradict each other, or the range is not in the past.
    """
    now = datetime.now(UTC)
    problems: list[ParameterProblem] = []
    if start is None:
        given = {"to": end, "speed": speed, "order": order}
        problems = [ParameterProblem(name, ONLY_REPLAYS) for name, value in given.items() if value is not None]
    else:
        problems = [ParameterProblem(name, NO_RESUME) for name, value in last_event_ids.items() if value]
        problems += _range_problems(start, end, now)
    if problems:
        raise BadParameters(problems)
    if start is None:
        return None
    return ReplayRequest(start.time, end.time if end else now, speed or 1.0, order or "known")


def _range_problems(start: TimeBound, end: TimeBound | None, now: datetime) -> list[ParameterProblem]:
    if start.time >= now:
        return [ParameterProblem("from", f"is in the future; now is {rfc3339(now)}. Leave it out to follow now")]
    if end and end.time > now:
        return [ParameterProblem("to", "is in the future; leave it out to replay up to now")]
    if end and end.time <= start.time:
        return [ParameterProblem("from", "must be before to")]
    return []


async def prepare_replay(
    connection: ASGIConnection[Any, Any, Any, Any], client: Client, request: ReplayRequest | None
) -> Player | None:
    """Return the player of a replay; None without one.

    Raises:
        BadParameters: The client has subscribed to revisions, which order=time lacks.
        Overloaded: Too many replays run.
        Gone: Trades of the range have been dropped.
    """
    if request is None:
        return None
    player = await services_of(connection).replays.prepare(client, request)
    check_replayed(player, client.subscription)
    return player


def check_replayed(player: Player, subscription: Subscription) -> None:
    """Raise BadParameters if a subscription has a channel that the replay lacks."""
    if REVISIONS in subscription.channels and not player.has_revisions:
        raise BadParameters([ParameterProblem("channels", NO_REVISIONS)])


def execute_on_replay(player: Player, command: Command) -> None:
    """Execute a command of a WebSocket client; the player answers it with a `clock`.

    Raises:
        BadParameters: The time is not within the replay.
    """
    match command.action:
        case "pause":
            player.pause()
        case "resume":
            player.resume()
        case "step":
            player.step()
        case "speed":
            player.set_speed(command.speed)
        case _:
            try:
                player.seek(command.time or player.now)
            except ValueError as error:
                raise BadParameters([ParameterProblem("time", str(error))]) from None
