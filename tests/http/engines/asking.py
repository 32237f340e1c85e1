"""verbose_json of a file, asked once."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.http.gateway.service import Service

Ask = Callable[..., dict[str, Any]]


def asker(service: Service, model: str) -> Ask:
    """verbose_json of a file; each question is asked once."""
    told: dict[str, dict[str, Any]] = {}

    def ask(file: Path, **fields: str) -> dict[str, Any]:
        question = json.dumps([str(file), fields], sort_keys=True)
        if question not in told:
            answer = service.client.transcribe(
                file, model=model, response_format="verbose_json", temperature="0", **fields
            )
            assert answer.status == 200, answer.text
            told[question] = answer.json
        return told[question]

    return ask
