"""Logging: one JSON object per line on stdout, ours and every library's alike.

Keys of every line: timestamp, level, service, message; request_id, trace_id and job_id where known.
There are two kinds of line about a job: `job.transition` (debug) and `job.done` (info, exactly one).
Never user text, never keys: libraries are heard from "warning" on, and their debug lines never, for
they may carry either.
"""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Sequence
from typing import Any

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from aistack.config import LogSection
from aistack.jobs.model import Transition
from aistack.jobs.states import Phase
from aistack.observe.job_line import done_fields, transition_fields
from aistack.observe.log_ring import RING, looks
from aistack.observe.log_sink import Sink, unformatted

SERVICE = "aistack"
STDOUT, STDERR = 1, 2
LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
FIRST = ("timestamp", "level", "service", "message")

_service_logger = logging.getLogger(SERVICE)
_jobs = structlog.get_logger("aistack.job")


def configure(settings: LogSection, fd: int = STDOUT) -> Sink:
    """Send every line of this process to `fd`. May be called again; the sink before is closed."""
    level = LEVELS[settings.level]
    pretty = settings.format == "pretty" or (settings.format == "auto" and os.isatty(fd))
    before = _before_rendering()
    kept = _json()
    rendering = _pretty(fd) if pretty else kept
    close()
    sink = Sink(fd)
    # Our own lines go straight to the sink: a record of the standard library costs more than the line.
    structlog.configure(
        processors=[*before, _Rendered(rendering, kept)],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda name="": _Line(sink, name),
        cache_logger_on_first_use=False,
    )
    sink.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=before,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
        )
    )
    # The console reads objects, whatever the terminal is shown.
    RING.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=before,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *kept],
        )
    )
    root = logging.getLogger()
    root.addHandler(sink)
    root.addHandler(RING)
    root.setLevel(logging.INFO if level == logging.DEBUG else max(level, logging.WARNING))
    logging.getLogger(SERVICE).setLevel(level)
    logging.captureWarnings(True)
    return sink


def close() -> None:
    """Write what is left (bounded) and stop logging to a file descriptor."""
    root = logging.getLogger()
    root.removeHandler(RING)
    for handler in [handler for handler in root.handlers if isinstance(handler, Sink)]:
        root.removeHandler(handler)
        handler.close()
        logging.captureWarnings(False)


class _Line:
    """What structlog calls with a rendered line of ours; `name` is the logger's."""

    def __init__(self, sink: Sink, name: str) -> None:
        self._sink = sink
        self.name = name

    def info(self, line: str) -> None:
        self._sink.say(line)

    def error(self, line: str) -> None:
        self._sink.say(line, hurry=True)

    debug = msg = info
    warn = warning = exception = fatal = critical = error


class _Rendered:
    """The last processor: the line as it is written, and as the ring keeps it.

    A line that cannot be rendered is told without its values; nothing raises.
    """

    def __init__(self, rendering: Sequence[Processor], kept: Sequence[Processor]) -> None:
        self._rendering = rendering
        self._kept = kept

    def __call__(self, logger: WrappedLogger, method: str, event: EventDict) -> str:
        keep = not looks(method, event)
        if keep and self._kept is not self._rendering:
            RING.keep(_rendered(self._kept, logger, method, dict(event)))
        line = _rendered(self._rendering, logger, method, event)
        if keep and self._kept is self._rendering:
            RING.keep(line)
        return line


def _rendered(
    rendering: Sequence[Processor], logger: WrappedLogger, method: str, event: EventDict
) -> str:
    try:
        line: Any = event
        for processor in rendering:
            line = processor(logger, method, line)
        return str(line)
    except Exception:  # noqa: BLE001 - any value of any line may fail to be shown
        return unformatted(logger.name).decode()


def _before_rendering() -> list[Processor]:
    """What our lines and foreign ones go through alike."""
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _service,
    ]


def _service(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    event["service"] = SERVICE
    return event


def _json() -> Sequence[Processor]:
    return (
        structlog.processors.format_exc_info,
        structlog.processors.EventRenamer("message", "_event"),
        _in_order,
        _dumps,
    )


def _pretty(fd: int) -> Sequence[Processor]:
    # Strings are shown quoted: a request path must not be able to steer the terminal. Plain
    # tracebacks: the default shows local variables where rich is installed, and they hold user text.
    return (
        structlog.dev.ConsoleRenderer(
            colors=os.isatty(fd),
            repr_native_str=True,
            exception_formatter=structlog.dev.plain_traceback,
        ),
    )


def _in_order(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """The keys of every line first."""
    return {key: event.pop(key) for key in FIRST if key in event} | dict(event)


_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=repr).encode


def _dumps(logger: WrappedLogger, method: str, event: EventDict) -> str:
    try:
        return _encode(event)
    except ValueError:
        # NaN and infinities are not JSON; a reader would refuse the whole line.
        return _encode(_finite(event))


def _finite(value: Any) -> Any:
    match value:
        case float() if not math.isfinite(value):
            return str(value)
        case dict():
            return {key: _finite(item) for key, item in value.items()}
        case list() | tuple():
            return [_finite(item) for item in value]
        case _:
            return value


# --- the lines -----------------------------------------------------------------------------------------


def story(transition: Transition) -> None:
    """An observer for the scheduler: what there is to log about a transition."""
    job_transition(transition)
    if transition.target is Phase.DONE:
        job_done(transition)


def job_transition(transition: Transition) -> None:
    """One `job.transition` line, at debug."""
    if _service_logger.isEnabledFor(logging.DEBUG):
        _jobs.debug("job.transition", **transition_fields(transition))


def job_done(transition: Transition) -> None:
    """The canonical line of a job."""
    _jobs.info("job.done", **done_fields(transition))
