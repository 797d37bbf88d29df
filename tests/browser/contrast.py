"""Contrast of the visible text."""

from pathlib import Path

from playwright.sync_api import Page

LOW_CONTRAST_TEXTS = Path(__file__).with_suffix(".js").read_text()


def low_contrast_texts(page: Page) -> list[str]:
    """Return the visible texts, each with its ratio, below WCAG AA: 4.5, or 3 for large text."""
    return page.evaluate(LOW_CONTRAST_TEXTS)
