"""Security headers that every response has."""

from typing import Final

SECURE: Final = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
NO_CONTENT: Final = "default-src 'none'; frame-ancestors 'none'"
"""Content security policy of responses that are no page."""
