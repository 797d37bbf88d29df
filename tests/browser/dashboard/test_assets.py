"""HTTP headers and files of the page."""

import re

import httpx

from market_data.api import dashboard


def test_assets_have_a_strict_csp_and_are_revalidated(address: str):
    with httpx.Client(base_url=address) as client:
        page = client.get("/dashboard")
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        urls = {f"/{url}" for url in re.findall(r'(?:src|href)="(assets/[^"]+)"', page.text)}
        assert {f"/assets/dashboard/{name}" for name in dashboard.ASSETS if name != dashboard.PAGE} <= urls
        for path in sorted(urls):
            asset = client.get(path)
            assert asset.status_code == 200, path
            if path.startswith("/assets/dashboard/"):
                assert asset.headers["x-content-type-options"] == "nosniff"
                again = client.get(path, headers={"If-None-Match": asset.headers["etag"]})
                assert (again.status_code, asset.headers["cache-control"]) == (304, "no-cache")
        assert client.get("/assets/dashboard/index.html").status_code == 404
