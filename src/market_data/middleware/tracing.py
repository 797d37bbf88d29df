"""OpenTelemetry traces of HTTP requests and their SQL statements; off by default.

OpenTelemetry's standard variables turn them on: OTEL_TRACES_EXPORTER=otlp, or an OTEL_EXPORTER_OTLP_ENDPOINT. While traces
are off, nothing of OpenTelemetry is imported here (Litestar imports it if the extra `tracing` is installed, but runs none).
"""

# The instrumentation is only partly typed.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import asyncio
import importlib.util
import logging
import os
import threading
from collections.abc import AsyncGenerator, Awaitable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, cast

from litestar.types import ASGIApp, Message, Receive, Scope, Send

from market_data.models import SERVICE
from market_data.telemetry.logging import TRACE_ID
from market_data.telemetry.request_log import route_of, shown_path

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

logger = logging.getLogger(__name__)

FLUSH_SECONDS = 0.5
"""Time at shutdown for the last spans to be sent."""

ATTRIBUTES_OF_URL = ("http.url", "http.target", "url.full", "url.path", "url.query")
"""Span attributes with the path and the query string, which may hold secrets."""


def is_requested(environment: Mapping[str, str] | None = None) -> bool:
    """Return True if the environment (default: of this process) asks for traces, and they are possible."""
    given = os.environ if environment is None else environment
    exporter = given.get("OTEL_TRACES_EXPORTER", "").strip()
    endpoint = given.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or given.get("OTEL_EXPORTER_OTLP_ENDPOINT")
    if given.get("OTEL_SDK_DISABLED", "").strip().lower() == "true" or exporter == "none" or not (exporter or endpoint):
        return False
    if exporter not in ("", "otlp"):
        logger.warning("traces are off: OTEL_TRACES_EXPORTER is %r, only otlp is supported", exporter)
        return False
    if importlib.util.find_spec("opentelemetry.exporter") is None:
        logger.warning("traces are off: install the extra `tracing` (pip install 'market-data-platform[tracing]')")
        return False
    return True


def start_provider() -> "TracerProvider":
    """Instrument psycopg, and return the provider that sends the spans."""
    # Imported here, because nothing of OpenTelemetry must be imported while traces are off.
    from opentelemetry import trace  # noqa: PLC0415
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.instrumentation.psycopg import PsycopgInstrumentor  # noqa: PLC0415
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    class RequestSpanProcessor(BatchSpanProcessor):
        def on_end(self, span: ReadableSpan) -> None:  # drops the statements of background tasks
            if span.parent is not None or span.kind is not trace.SpanKind.CLIENT:
                super().on_end(span)

    resource = Resource.create({} if os.environ.get("OTEL_SERVICE_NAME") else {"service.name": SERVICE})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(RequestSpanProcessor(OTLPSpanExporter()))
    instrumentor = PsycopgInstrumentor()
    if not instrumentor.is_instrumented_by_opentelemetry:
        instrumentor.instrument(tracer_provider=provider)
    return provider


def traced(app: ASGIApp, provider: "TracerProvider") -> ASGIApp:
    """Return the application with a span for each request, named after its route."""
    from opentelemetry import trace  # noqa: PLC0415 - as in `start_provider`
    from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware  # noqa: PLC0415

    def begin(span: "Span", scope: dict[str, Any]) -> None:
        attributes: Mapping[str, Any] = getattr(span, "attributes", None) or {}
        path = shown_path(cast("Scope", scope))
        span.set_attributes({name: path for name in ATTRIBUTES_OF_URL if name in attributes})
        TRACE_ID.set(trace.format_trace_id(span.get_span_context().trace_id))

    def initial_name(scope: dict[str, Any]) -> tuple[str, dict[str, str]]:
        return scope.get("method", "websocket"), {}

    async def with_route(scope: Scope, receive: Receive, send: Send) -> None:
        def naming_send(message: Message) -> Awaitable[None]:
            if message["type"] in ("http.response.start", "websocket.accept"):
                span, route = trace.get_current_span(), route_of(scope)
                span.update_name(f"{scope['method'] if scope['type'] == 'http' else 'websocket'} {route}")
                span.set_attribute("http.route", route)
            return send(message)

        await app(scope, receive, naming_send)

    middleware = OpenTelemetryMiddleware(
        with_route,
        tracer_provider=provider,
        default_span_details=initial_name,
        server_request_hook=begin,
        exclude_spans=["receive", "send"],
    )
    return cast("ASGIApp", middleware)


@asynccontextmanager
async def sending(provider: "TracerProvider | None") -> AsyncGenerator[None]:
    """Send spans until the end of the block, then the rest for at most `FLUSH_SECONDS`."""
    try:
        yield
    finally:
        if provider is not None:
            await _shut_down(provider)


async def _shut_down(provider: "TracerProvider") -> None:
    loop, done = asyncio.get_running_loop(), asyncio.Event()

    def shut_down() -> None:
        provider.shutdown()
        with suppress(RuntimeError):  # the loop may be closed already
            loop.call_soon_threadsafe(done.set)

    # On a daemon thread, which does not delay the exit: a collector that hangs blocks `shutdown`.
    threading.Thread(target=shut_down, daemon=True).start()
    with suppress(TimeoutError):
        await asyncio.wait_for(done.wait(), FLUSH_SECONDS)
