"""Violations of WCAG 2.2 AA that axe-core finds in a page."""

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

LEVEL_AA = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]

axe = Axe()


def wcag_violations(page: Page) -> list[str]:
    """Return the rule of each violation with the elements that break it."""
    options = {"runOnly": LEVEL_AA, "resultTypes": ["violations"]}
    violations = axe.run(page, options=options).response["violations"]
    return [f"{each['id']}: {[node['target'] for node in each['nodes']]}" for each in violations]
