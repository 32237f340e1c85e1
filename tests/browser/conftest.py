"""The browser, for every test of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.browser.browser import browser

__all__ = ["browser"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)
