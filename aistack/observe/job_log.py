"""The two kinds of log line about a job: `job.transition` (debug) and `job.done` (info, exactly one)."""

from __future__ import annotations

import logging

import structlog

from aistack.jobs.model import Transition
from aistack.jobs.states import Phase
from aistack.observe.job_line import done_fields, transition_fields

_log = structlog.get_logger("aistack.job")
_service = logging.getLogger("aistack")
"""Its level is the configured one."""


def log_transition(transition: Transition) -> None:
    """An observer for the scheduler. The fields of a `job.transition` line are made only if it is
    wanted: there is one for every move of every job."""
    if _service.isEnabledFor(logging.DEBUG):
        _log.debug("job.transition", **transition_fields(transition))
    if transition.target is Phase.DONE:
        _log.info("job.done", **done_fields(transition))
