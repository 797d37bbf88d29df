"""Security headers of responses and pages."""

import pytest
from helpers.security_headers import NO_CONTENT, SECURE
from litestar.testing import TestClient


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/", 200),
        ("/symbols", 200),
        ("/metrics", 200),
        ("/health/live", 200),
        ("/nothing", 404),
        ("/trades", 400),
        ("/ws", 426),
    ],
)
def test_every_response_has_the_security_headers(service: TestClient, path: str, status: int):
    response = service.get(path)
    assert response.status_code == status
    assert response.headers.items() >= (SECURE | {"content-security-policy": NO_CONTENT}).items()
    assert len(response.headers.multi_items()) == len(set(response.headers)), "no header is set twice"
    assert not [name for name in response.headers if name.startswith("access-control-")]


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/dashboard"])
def test_pages_have_a_strict_content_security_policy(service: TestClient, path: str):
    response = service.get(path)
    assert response.headers.items() >= SECURE.items()
    (policy,) = response.headers.get_list("content-security-policy")
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == rules["object-src"] == rules["base-uri"] == "'none'"
    assert rules["form-action"] == rules["frame-ancestors"] == "'none'"
    assert "unsafe" not in rules["script-src"]
    assert "*" not in policy
    assert "http" not in policy
    assert ("unsafe-inline" in rules["style-src"]) == (path == "/redoc")
