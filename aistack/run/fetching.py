"""Weights fetched by an engine's own process, without a service: what `aistack pull` does.

In a process of its own as a load would be, so that an engine with its own interpreter fetches with its
own libraries, and what they print stays away from the terminal.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from aistack.chunks import ModelSpec, Progress, from_frame, to_frame
from aistack.errors import Code, Fault
from aistack.run.frames import fault_from_frame
from aistack.run.process import EngineDied, EngineProcess, EngineSettings

log = structlog.get_logger("aistack.engine")

JOB = "pull"


async def fetch(
    settings: EngineSettings, spec: ModelSpec, report: Callable[[Progress], None]
) -> Fault | None:
    """Fetch what `spec` names; None, or why it did not work. Every wait is bounded, and the process is
    gone when this returns or is cancelled. Raises OSError if the process cannot be started."""
    process = await EngineProcess.spawn(settings)
    process.busy = True
    try:
        return await _fetch(process, spec, report)
    except EngineDied:
        return _fault(settings, spec, "the process that fetches it ended")
    except TimeoutError:
        return _fault(settings, spec, "no data arrived for too long. The next attempt resumes it")
    finally:
        await process.reap("cpu")


async def _fetch(
    process: EngineProcess, spec: ModelSpec, report: Callable[[Progress], None]
) -> Fault | None:
    hello = await process.hello()
    if not process.agrees(hello):
        version = hello.get("version")
        why = f"its interpreter has aistack {version}, not the version of this command"
        return _fault(process.settings, spec, why)
    process.send("fetch", job=JOB, model=to_frame(spec))
    while True:
        frame = await process.frame(process.settings.stall_s)
        match frame["say"]:
            case "progress":
                report(from_frame(frame["progress"]))
            case "fetched":
                return None
            case "failed":
                log.debug("fetch failed", traceback=frame.get("trace", ""))
                return fault_from_frame(frame["fault"])
            case _:
                pass


def _fault(settings: EngineSettings, spec: ModelSpec, why: str) -> Fault:
    message = f"The model {spec.id} could not be downloaded: {why}."
    return Fault(Code.MODEL_LOAD_FAILED, message, settings.provider)
