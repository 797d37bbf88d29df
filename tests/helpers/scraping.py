"""Samples of `GET /metrics`."""

from litestar.testing import TestClient
from prometheus_client.parser import text_string_to_metric_families


def scraped(client: TestClient) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    answer = client.get("/metrics")
    assert answer.status_code == 200
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def value(client: TestClient, name: str, **labels: str) -> float | None:
    return scraped(client).get((f"market_data_{name}", frozenset(labels.items())))
