"""Traces by OpenTelemetry, from the HTTP request to its SQL statements: off unless asked for.

OpenTelemetry's standard variables ask for them: OTEL_TRACES_EXPORTER=otlp, or an OTEL_EXPORTER_OTLP_ENDPOINT. While they are
off nothing here imports anything of OpenTelemetry (Litestar does, where the extra `tracing` is installed, but runs none).
"""

# The instrumentation comes with half of its types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import asyncio
import importlib.util
import logging
import os
import threading
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, cast

from litestar.types import ASGIApp, Receive, Scope, Send

from market_data.middleware.access_log import AccessLog
from market_data.models import SERVICE
from market_data.telemetry.logging import TRACE_ID

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

logger = logging.getLogger(__name__)

FLUSH_SECONDS = 0.5
"""How long a stop waits for the last spans to be sent."""

WITH_QUERY = ("http.url", "http.target", "url.full", "url.query")
"""Attributes that have the query string, which may hold keys."""


def asked_for(environment: Mapping[str, str] | None = None) -> bool:
    """Whether the environment (default: this process's) asks for traces, and they can be had."""
    given = os.environ if environment is None else environment
    exporter = given.get("OTEL_TRACES_EXPORTER", "").strip()
    endpoint = given.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or given.get("OTEL_EXPORTER_OTLP_ENDPOINT")
    if given.get("OTEL_SDK_DISABLED", "").strip().lower() == "true" or exporter == "none" or not (exporter or endpoint):
        return False
    if exporter not in ("", "otlp"):
        logger.warning("no traces: OTEL_TRACES_EXPORTER is %r, and only otlp is known here", exporter)
        return False
    if importlib.util.find_spec("opentelemetry.exporter") is None:
        logger.warning("no traces: install the extra `tracing` (pip install 'market-data-platform[tracing]')")
        return False
    return True


def traced(app: AccessLog) -> "tuple[ASGIApp, TracerProvider]":
    """An application with a span for each request and for each statement that runs for it, and what sends them."""
    # Here, for where traces are off nothing is to be imported.
    from opentelemetry import trace  # noqa: PLC0415
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware  # noqa: PLC0415
    from opentelemetry.instrumentation.psycopg import PsycopgInstrumentor  # noqa: PLC0415
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    class OfRequests(BatchSpanProcessor):
        def on_end(self, span: ReadableSpan) -> None:  # without what the background tasks ask the database
            if span.parent is not None or span.kind is not trace.SpanKind.CLIENT:
                super().on_end(span)

    resource = Resource.create({} if os.environ.get("OTEL_SERVICE_NAME") else {"service.name": SERVICE})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(OfRequests(OTLPSpanExporter()))
    instrumentor = PsycopgInstrumentor()
    if not instrumentor.is_instrumented_by_opentelemetry:
        instrumentor.instrument(tracer_provider=provider)

    def begin(span: "Span", scope: dict[str, Any]) -> None:
        attributes: Mapping[str, Any] = getattr(span, "attributes", None) or {}
        span.set_attributes({name: scope["path"] for name in WITH_QUERY if name in attributes})
        TRACE_ID.set(trace.format_trace_id(span.get_span_context().trace_id))

    def describe(scope: dict[str, Any]) -> tuple[str, dict[str, str]]:
        return scope.get("method", "websocket"), {}

    def annotate(name: str) -> None:
        span = trace.get_current_span()
        span.update_name(name)
        span.set_attribute("http.route", name.partition(" ")[2])

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:  # others than coroutines it takes for ASGI 2
        await app(scope, receive, send)

    app.annotate = annotate
    middleware = OpenTelemetryMiddleware(
        answer,
        tracer_provider=provider,
        default_span_details=describe,
        server_request_hook=begin,
        exclude_spans=["receive", "send"],
    )
    return cast("ASGIApp", middleware), provider


@asynccontextmanager
async def sending(provider: "TracerProvider | None") -> AsyncGenerator[None]:
    """Send spans, if there are to be any, until the end of the block, and for a moment more what is left."""
    try:
        yield
    finally:
        if provider is not None:
            await _shut_down(provider)


async def _shut_down(provider: "TracerProvider") -> None:
    loop, done = asyncio.get_running_loop(), asyncio.Event()

    def shut_down() -> None:
        provider.shutdown()
        with suppress(RuntimeError):  # the loop is closed by now
            loop.call_soon_threadsafe(done.set)

    # It may wait for a collector that does not answer: on a thread that nobody waits for.
    threading.Thread(target=shut_down, daemon=True).start()
    with suppress(TimeoutError):
        await asyncio.wait_for(done.wait(), FLUSH_SECONDS)
