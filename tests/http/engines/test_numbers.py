"""The checks that stand for the heavy engines have tests here that bear their numbers.

Runs everywhere (it imports no engine): a number whose test is gone fails even where the libraries that
the tests need are not installed.
"""

from __future__ import annotations

from pathlib import Path

from tests.http.gateway.test_numbers import numbered, numbers

HERE = Path(__file__).parent
CLAIMED = "40-44 84 88 89 96 97 102-110 114-117 125-130 135 136"


def test_every_number_of_the_heavy_engines_is_tested_on_them() -> None:
    assert sorted(numbers(CLAIMED) - numbered(HERE)) == []
