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

from aistack.config import Log
from aistack.jobs.model import Transition
from aistack.jobs.states import Column
from aistack.log_sink import Sink
from aistack.stats import done_fields, transition_fields

SERVICE = "aistack"
STDOUT, STDERR = 1, 2
LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
FIRST = ("timestamp", "level", "service", "message")

_jobs = structlog.get_logger("aistack.job")


def configure(settings: Log, fd: int = STDOUT) -> Sink:
    """Send every line of this process to `fd`. May be called again; the sink before is closed."""
    level = LEVELS[settings.level]
    pretty = settings.format == "pretty" or (settings.format == "auto" and os.isatty(fd))
    before = _before_rendering()
    structlog.configure(
        processors=[*before, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    close()
    sink = Sink(fd)
    sink.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=before,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *(_pretty(fd) if pretty else _json()),
            ],
        )
    )
    root = logging.getLogger()
    root.addHandler(sink)
    root.setLevel(logging.INFO if level == logging.DEBUG else max(level, logging.WARNING))
    logging.getLogger(SERVICE).setLevel(level)
    logging.captureWarnings(True)
    return sink


def close() -> None:
    """Write what is left (bounded) and stop logging to a file descriptor."""
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, Sink)]:
        root.removeHandler(handler)
        handler.close()
        logging.captureWarnings(False)


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
        structlog.processors.JSONRenderer(_dumps),
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


def _dumps(value: Any, **options: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, **options)
    except ValueError:
        # NaN and infinities are not JSON; a reader would refuse the whole line.
        return json.dumps(_finite(value), ensure_ascii=False, **options)


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
    if transition.target is Column.DONE:
        job_done(transition)


def job_transition(transition: Transition) -> None:
    """One `job.transition` line, at debug."""
    if logging.getLogger(SERVICE).isEnabledFor(logging.DEBUG):
        _jobs.debug("job.transition", **transition_fields(transition))


def job_done(transition: Transition) -> None:
    """The canonical line of a job."""
    _jobs.info("job.done", **done_fields(transition))
