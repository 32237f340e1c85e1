"""Whisper beside the heavy engines, over HTTP. Last, for it takes Parakeet's place in that service."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.http.engines.asking import Ask, asker
from tests.http.engines.direct import Direct
from tests.http.engines.sounds import DE, EN, LONG
from tests.http.gateway.service import Service


@pytest.fixture(scope="module")
def whisper(services: dict[str, Service]) -> Ask:
    return asker(services["parakeet"], "whisper-small")


@pytest.mark.parametrize("file", [EN, LONG, DE], ids=lambda file: file.stem)
def test_whisper_says_what_faster_whisper_says(
    file: Path, whisper: Ask, libraries: dict[str, Direct]
) -> None:
    theirs = libraries["whisper"].hear(file)
    assert whisper(file)["text"] == theirs


def test_a105_granularity_changes_nothing_on_whisper(whisper: Ask) -> None:
    assert whisper(LONG) == whisper(LONG, segment_granularity="subtitle")
