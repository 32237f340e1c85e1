"""A service that is watched: what an operator has of it on the disk and over HTTP, waited for."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from prometheus_client.parser import text_string_to_metric_families

from aistack.observe.observability import Observability
from aistack.web.instrumentation import OBSERVABILITY
from tests.http.gateway.client import BOUND_S, Answer, Call
from tests.http.gateway.service import Service

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
Samples = dict[str, dict[tuple[tuple[str, str], ...], float]]


class Watched:
    """One running service. A request's end is an event here: the client has its answer before it."""

    def __init__(self, service: Service, folder: Path) -> None:
        self.service = service
        self.logs, self.captures = folder / "logs", folder / "captures"
        self.observability: Observability = service.app[OBSERVABILITY]
        self._ended: list[str] = []
        self._changed = threading.Condition()
        end = self.observability.end

        def told(watch: Any, *args: Any) -> None:
            end(watch, *args)
            with self._changed:
                self._ended.append(watch.request_id)
                self._changed.notify_all()

        setattr(self.observability, "end", told)  # noqa: B010 - a method of one object

    def over(self, request_id: str, times: int = 1) -> None:
        """Wait until so many requests of that id are over, and what they leave is on the disk."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._ended.count(request_id) >= times, BOUND_S)
        assert self.observability.access_log.flush(BOUND_S)
        self.observability.store.settled().result(BOUND_S)

    def line(self, answer: Answer) -> dict[str, Any]:
        """The access line of the request that was answered so."""
        (line,) = self.lines(answer.headers["x-request-id"])
        return line

    def lines(self, request_id: str) -> list[dict[str, Any]]:
        self.over(request_id)
        return [line for line in self.all_lines() if line["request_id"] == request_id]

    def all_lines(self) -> list[dict[str, Any]]:
        return [
            json.loads(text)
            for path in sorted(self.logs.glob("access-*.jsonl"))
            for text in path.read_text(encoding="utf-8").splitlines()
        ]

    def captured(self, request_id: str) -> Path:
        """The folder of that request's only capture."""
        self.over(request_id)
        (folder,) = self.captures.glob(f"*/{request_id}")
        return folder

    def turn(self, key: str, value: str) -> dict[str, Any]:
        answer = self.toggle(key=key, value=value)
        assert answer.status == 200
        state: dict[str, Any] = answer.json
        return state

    def toggle(self, **fields: str) -> Answer:
        path = "/admin/api/observability/toggle"
        return self.service.client.ask("POST", path, urlencode(fields), FORM)

    @property
    def figures(self) -> dict[str, Any]:
        answer = self.service.client.get("/admin/api/metrics")
        assert answer.status == 200
        figures: dict[str, Any] = answer.json
        return figures

    def scrape(self) -> Samples:
        """/metrics by sample name and labels."""
        answer = self.service.client.get("/metrics")
        assert answer.status == 200
        return samples(answer.text)

    def send(self, request_id: str, *script: dict[str, Any], **fields: Any) -> Call:
        return self.service.begin(*script, headers={"X-Request-ID": request_id}, **fields)


def samples(text: str) -> Samples:
    """An exposition, read by the library's own parser."""
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found
