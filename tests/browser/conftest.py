"""The browser, for every test of this folder."""

from __future__ import annotations

from tests.browser.browser import browser

__all__ = ["browser"]
