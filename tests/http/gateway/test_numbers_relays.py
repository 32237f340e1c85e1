"""Every check about the relays has a test that bears its number, over HTTP."""

from __future__ import annotations

from tests.http.gateway.test_numbers import TESTS, numbered, numbers

RELAYS = "46-52 143-146 149 159-193"


def test_every_number_of_the_relays_has_a_test_over_http() -> None:
    assert sorted(numbers(RELAYS) - numbered(TESTS / "http" / "gateway")) == []
