"""The table of upstream failures: what a client gets when Ollama or the speech container fails.

The tests hold every cell to it over HTTP; `python -m tests.http.gateway.failures` prints it as the page
docs/api/upstream-failures.md.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from attrs import frozen

KINDS = ("chat, whole", "chat, stream", "speech")


@frozen
class Told:
    """How a call ends. `code` is "" for a call that goes well.

    `status` is what the client sees first; `begun`: the failure came after that, so that the answer
    is cut off (and a chat stream is told `code` in its last event). `retry`: there is a Retry-After.
    """

    status: int = 200
    kind: str = ""
    code: str = ""
    begun: bool = False
    retry: bool = False

    def text(self, phase: str) -> str:
        if not self.code:
            return "200"
        if self.begun:
            event = f'`data: {{"error": …}}` (`{self.code}`), ' if phase == "chat, stream" else ""
            return f"200, {event}then the connection is cut"
        return f"{self.status} {self.kind} `{self.code}`" + (", `Retry-After: 5`" if self.retry else "")


@frozen
class Failure:
    """One row. `how` makes the double fail so (see `tests.doubles.base.Bad`); none: there is no
    answer to a connection, `refused` or `ignored`."""

    name: str
    told: Told
    how: Mapping[str, Any] | None = None
    connection: str = ""


UNREACHABLE = Told(503, "network", "backend_unreachable")
TIMEOUT = Told(503, "network", "upstream_timeout")
BROKEN = Told(500, "unknown", "upstream_error")
BUSY = Told(503, "network", "upstream_busy", retry=True)
REJECTED = Told(400, "malformed", "upstream_rejected")


def answers(status: int, told: Told, **more: Any) -> Failure:
    """The upstream answers with this status."""
    return Failure(f"answers {status}", told, {"do": "status", "status": status, **more})


TABLE = (
    Failure("connection refused", UNREACHABLE, connection="refused"),
    Failure("connection attempt ignored", UNREACHABLE, connection="ignored"),
    Failure("reset before the headers", UNREACHABLE, {"do": "reset"}),
    Failure("closed before the headers", UNREACHABLE, {"do": "close"}),
    Failure("silence before the headers", TIMEOUT, {"do": "hang"}),
    Failure("not HTTP", BROKEN, {"do": "garbage"}),
    answers(400, REJECTED),
    Failure(
        "answers 404 for the model",
        Told(400, "malformed", "model_not_found"),
        {"do": "status", "status": 404, "body": '{"error": {"message": "made up", "param": "model"}}'},
    ),
    answers(404, REJECTED),
    answers(413, Told(413, "overflow", "too_large")),
    answers(429, BUSY),
    answers(500, BROKEN),
    answers(502, BROKEN),
    answers(503, BUSY),
    answers(504, BROKEN),
    answers(307, BROKEN, headers={"Location": "/elsewhere"}),
    Failure("reset in the middle", Told(200, "unknown", "upstream_error", begun=True), {"do": "cut"}),
    Failure(
        "silence in the middle", Told(200, "network", "upstream_timeout", begun=True), {"do": "stall"}
    ),
    Failure("slow to start", Told(), {"do": "slow", "seconds": 0.3}),
)

PAGE = """\
# When an upstream fails

What a client gets when Ollama (chat) or the speech container fails. `tests/http/gateway` checks every
cell over HTTP: status, kind and code, that the slot is free afterwards, and that the next call works.
`python -m tests.http.gateway.failures` prints this page.

{table}

- Before the first byte a failure is a status with [the envelope](errors.md). `message` is the
  upstream's own if it sent one; the upstream's status and code are under `error.upstream`. After the
  first byte there is never a clean end.
- A connection attempt times out after 2 s (Ollama) or 5 s (container), a silent connection after 600 s,
  because a cold start takes 60 to 150 s.
- A chat stream that ends cleanly, but with neither `[DONE]` nor a finish reason, counts as reset in the
  middle: Ollama ends a stream like this when its runner dies.
- 500 and `backend_unreachable` carry `x-should-retry: false`, so OpenAI's libraries do not retry them.
"""


def page() -> str:
    """The documentation page."""
    lines = [
        "| the upstream | " + " | ".join(KINDS) + " |",
        "| --- " * (len(KINDS) + 1) + "|",
        *(
            f"| {row.name} | " + " | ".join(row.told.text(phase) for phase in KINDS) + " |"
            for row in TABLE
        ),
    ]
    return PAGE.format(table="\n".join(lines))


if __name__ == "__main__":
    sys.stdout.write(page())
