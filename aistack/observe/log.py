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
from aistack.observe.log_ring import RING, of_console
from aistack.observe.log_sink import Sink, unformatted
from aistack.observe.terminal import plain

SERVICE = "aistack"
STDOUT, STDERR = 1, 2
LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
FIRST = ("timestamp", "level", "service", "message")


def configure(settings: LogSection, fd: int = STDOUT) -> Sink:
    """Send every line of this process to `fd`. May be called again; the sink before is closed."""
    level = LEVELS[settings.level]
    pretty = settings.format == "pretty" or (settings.format == "auto" and os.isatty(fd))
    close()
    sink = Sink(fd)
    render = _Render(_pretty(fd) if pretty else None)
    # Our own lines go straight to the sink: a record of the standard library costs more than the line.
    structlog.configure(
        processors=[*PREPARE, render],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda name="": _LineLogger(sink, name),
        cache_logger_on_first_use=False,
    )
    records = _Records(sink)
    records.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=PREPARE,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
        )
    )
    root = logging.getLogger()
    root.addHandler(records)
    root.setLevel(logging.INFO if level == logging.DEBUG else max(level, logging.WARNING))
    logging.getLogger(SERVICE).setLevel(level)
    logging.captureWarnings(True)
    return sink


def close() -> None:
    """Write what is left (bounded) and stop logging to a file descriptor."""
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, _Records)]:
        root.removeHandler(handler)
        handler.close()
        logging.captureWarnings(False)


class _LineLogger:
    """What structlog calls with a rendered line; `name` is the logger's."""

    def __init__(self, sink: Sink, name: str) -> None:
        self._sink = sink
        self.name = name

    def info(self, line: str) -> None:
        self._sink.write(line)

    def error(self, line: str) -> None:
        self._sink.write(line, hurry=True)

    debug = msg = info
    warn = warning = exception = fatal = critical = error


class _Records(logging.Handler):
    """Makes lines of the libraries' records, in their own threads. Never raises."""

    def __init__(self, sink: Sink) -> None:
        super().__init__()
        self._sink = sink

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except Exception:  # noqa: BLE001 - any argument of any library's line may fail to format
            line = unformatted(record.name)
            RING.keep(line)
        self._sink.write(line, hurry=record.levelno >= logging.WARNING)

    def close(self) -> None:
        self._sink.close()
        super().close()


class _Render:
    """The last processor: the line as it is written. The ring keeps it as JSON in any case.

    A line that cannot be rendered is replaced by one without its values; nothing raises.
    """

    def __init__(self, pretty: Sequence[Processor] | None) -> None:
        self._pretty = pretty

    def __call__(self, logger: WrappedLogger, method: str, event: EventDict) -> str:
        keep = not of_console(method, event)
        if self._pretty is None:
            line = _rendered(JSON, logger, method, event)
            if keep:
                RING.keep(line)
            return line
        if keep:
            RING.keep(_rendered(JSON, logger, method, event))
        return _rendered(self._pretty, logger, method, event)


def _rendered(
    processors: Sequence[Processor], logger: WrappedLogger, method: str, event: EventDict
) -> str:
    try:
        line: Any = dict(event)
        for processor in processors:
            line = processor(logger, method, line)
        return str(line)
    except Exception:  # noqa: BLE001 - any value of any line may fail to be rendered
        return unformatted(str(event.get("logger", "")))


def _service(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    event["service"] = SERVICE
    return event


def _pretty(fd: int) -> Sequence[Processor]:
    # Plain tracebacks: the default shows local variables where rich is installed, and they hold user
    # text.
    return (
        _safe,
        structlog.dev.ConsoleRenderer(
            colors=os.isatty(fd),
            repr_native_str=True,
            exception_formatter=structlog.dev.plain_traceback,
        ),
    )


def _safe(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Nothing in the line can steer a terminal: a request path may be in its message, in a traceback,
    or in what the repr of a value says. Plain strings are quoted by the renderer."""
    safe: dict[str, Any] = {}
    for key, value in event.items():
        if key in TEXT:
            value = plain(str(value))
        elif key in BELOW:
            value = plain(str(value), keep="\n\t")
        elif type(value) not in (str, int, float, bool, type(None)):
            value = _Quoted(value)
        safe[plain(str(key))] = value
    return safe


class _Quoted:
    """A value whose repr is made safe for a terminal."""

    def __init__(self, value: object) -> None:
        self._value = value

    def __repr__(self) -> str:
        return plain(repr(self._value))


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


PREPARE: Sequence[Processor] = (
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    _service,
    structlog.processors.format_exc_info,
)
"""What our lines and the libraries' go through alike, before they are rendered."""
JSON: Sequence[Processor] = (structlog.processors.EventRenamer("message", "_event"), _in_order, _dumps)
TEXT = frozenset({"event", "level", "logger", "timestamp"})
BELOW = frozenset({"exception", "stack"})
"""What the renderer for terminals prints as it is: in the line, and in lines of its own."""
