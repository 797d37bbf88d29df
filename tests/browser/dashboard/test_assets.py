"""HTTP headers and files of the page."""

import re

import httpx

from market_data.api import dashboard


def test_files_have_a_strict_csp_and_are_kept_forever_under_the_hash_of_all(address: str):
    with httpx.Client(base_url=address) as client:
        page = client.get("/dashboard")
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert page.headers["cache-control"] == "no-cache"
        paths = {f"/{path}" for path in re.findall(r'(?:src|href)="(assets/[^"]+)"', page.text)}
        (folder,) = {path.rpartition("/")[0] for path in paths}
        assert re.fullmatch(r"/assets/dashboard/[0-9a-f]{20}", folder)
        for path in {*paths, f"{folder}/stream_worker.js"}:
            asset = client.get(path)
            assert asset.status_code == 200, path
            assert asset.headers["cache-control"] == "public, max-age=31536000, immutable"
            assert asset.headers["x-content-type-options"] == "nosniff"
            assert "ratelimit-limit" not in asset.headers
        assert client.get(f"/assets/dashboard/{'0' * 20}/app.js").status_code == 404


def test_sources_are_revalidated(address: str):
    with httpx.Client(base_url=address) as client:
        for name in sorted(dashboard.SOURCES.keys() - {dashboard.PAGE}):
            source = client.get(f"/assets/dashboard/{name}")
            again = client.get(f"/assets/dashboard/{name}", headers={"If-None-Match": source.headers["etag"]})
            assert (again.status_code, source.headers["cache-control"]) == (304, "no-cache"), name
        assert client.get("/assets/dashboard/index.html").status_code == 404
