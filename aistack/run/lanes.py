"""The two places where a step can run: CHILD (engine processes) and LOOP (relays).

Each coroutine here ends by returning the one event that reports its step; frames on the way are
posted. Nothing here knows what the event will lead to.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import structlog

from aistack.chunks import ModelSpec, Tail, from_frame, to_frame
from aistack.contract.devices import Device
from aistack.engines.base import Relay
from aistack.errors import (
    Code,
    ErrorKind,
    Fault,
    crashed,
    fault_from,
    found_dead,
    internal,
    load_failed,
    out_of_memory,
    stalled,
    too_slow,
)
from aistack.jobs import events as ev
from aistack.jobs.effects import Load, Run
from aistack.run.downloads import DownloadLog
from aistack.run.frames import fault_from_frame
from aistack.run.process import EngineDied, EngineProcess

log = structlog.get_logger("aistack.engine")

Post = Callable[[ev.Event], None]
Ready = Callable[[str], Awaitable[None]]
"""Wait until the client of a job has room for more; TimeoutError after waiting too long."""


# --- CHILD -------------------------------------------------------------------------------------------


async def child_load(process: EngineProcess, load: Load, spec: ModelSpec, post: Post) -> ev.Event:
    """Load the model into the process. Whatever fails, the process is gone when this returns."""
    provider, model = process.settings.provider, load.resident.model
    process.busy = True
    fault: Fault
    try:
        hello = await process.hello()
        if not process.agrees(hello):
            fault = load_failed(
                provider,
                model,
                f"its interpreter has aistack {hello.get('version')}, not the gateway's version",
            )
        else:
            process.send("load", job=load.job_id, model=to_frame(spec))
            download = DownloadLog(model, process.backend, load.job_id)
            while True:
                frame = await process.frame(process.settings.stall_s)
                if frame.get("job") != load.job_id:
                    continue
                if frame["say"] == "progress":
                    progress = from_frame(frame["progress"])
                    download.note(progress)
                    post(ev.Progressed(load.job_id, progress))
                elif frame["say"] == "loaded":
                    process.busy = False
                    return ev.Loaded(load.job_id)
                elif frame["say"] == "failed":
                    fault = _fault_of(frame, process, load.job_id)
                    if fault.code is Code.INTERNAL_ERROR:
                        fault = load_failed(provider, model, "the engine failed; see the log")
                    break
    except EngineDied:
        await process.reap(load.device)
        if process.ran_out_of_memory:
            fault = out_of_memory(provider, "load the model")
        else:
            fault = load_failed(provider, model, "the engine process exited while loading")
    except TimeoutError:
        fault = load_failed(provider, model, "the engine process showed no sign of life")
    await process.reap(load.device)
    return ev.Failed(load.job_id, fault, lost=True)


async def child_run(
    process: EngineProcess, run: Run, post: Post, cancel_requested: asyncio.Event
) -> ev.Event:
    """Run the request in the process; `cancel_requested` is set once the job has to stop."""
    provider = process.settings.provider
    job = run.job_id
    began = False
    process.busy = True
    process.send("run", job=job, request=to_frame(run.request))
    try:
        while True:
            frame = await process.frame(process.settings.stall_s)
            if frame.get("job") != job:
                continue
            match frame["say"]:
                case "began":
                    began = True
                case "progress":
                    post(ev.Progressed(job, from_frame(frame["progress"])))
                case "chunk":
                    post(ev.Produced(job, from_frame(frame["chunk"])))
                case "finished":
                    process.busy = False
                    return ev.Finished(job, from_frame(frame["result"]))
                case "stopped":
                    process.busy = False
                    return ev.Stopped(job)
                case "failed":
                    return await _run_failed(process, run, frame)
                case other:
                    log.warning("unknown frame", engine=process.backend, say=other)
    except EngineDied:
        await process.reap(run.device)
        if cancel_requested.is_set():
            return ev.Stopped(job, lost=True)
        if process.ran_out_of_memory:
            fault = out_of_memory(provider, "finish this request")
        else:
            fault = crashed(provider) if began else found_dead(provider)
        return ev.Failed(job, fault, lost=True)
    except TimeoutError:
        await process.reap(run.device)
        return ev.Failed(job, stalled(provider, process.settings.stall_s), lost=True)


async def _run_failed(process: EngineProcess, run: Run, frame: dict[str, Any]) -> ev.Event:
    """A failure that the engine reported; some leave a process that cannot be trusted with another run.

    After running out of memory it may hold what it could get; after an unknown error on a card,
    its CUDA context may be dead.
    """
    fault = _fault_of(frame, process, run.job_id)
    strange = fault.kind is ErrorKind.UNKNOWN and Device.parse(run.device).is_cuda
    if strange or fault.code is Code.OUT_OF_MEMORY:
        await process.reap(run.device)
        return ev.Failed(run.job_id, fault, lost=True)
    process.busy = False
    return ev.Failed(run.job_id, fault)


def _fault_of(frame: dict[str, Any], process: EngineProcess, job_id: str) -> Fault:
    """The fault of a "failed" frame; its traceback goes to the log, unless the input was at fault."""
    fault = fault_from_frame(frame["fault"])
    known = {"engine": process.backend, "job_id": job_id, "code": fault.code.value}
    if fault.kind is ErrorKind.MALFORMED:
        log.info("engine refused the input", **known)
    else:
        log.error("engine failed", **known, traceback=frame.get("trace", ""))
    return fault


# --- LOOP --------------------------------------------------------------------------------------------


async def loop_run(relay: Relay[Any], run: Run, post: Post, ready: Ready) -> ev.Event:
    """Relay on the loop. Cancelling this task closes the upstream connection."""
    work: AsyncGenerator[Any, None] = relay.run(run.request)
    try:
        while True:
            try:
                await ready(run.job_id)
            except TimeoutError:
                log.warning("relay.slow_client", relay=relay.name, job_id=run.job_id)
                return ev.Failed(run.job_id, too_slow())
            try:
                item = await anext(work)
            except StopAsyncIteration:
                return ev.Finished(run.job_id, Tail())
            if isinstance(item, Tail):
                return ev.Finished(run.job_id, item)
            post(ev.Produced(run.job_id, item))
    except asyncio.CancelledError:
        return ev.Stopped(run.job_id)
    except Exception as exc:
        fault = fault_from(exc, relay.provider, relay.kind_of(exc))
        if fault == internal(relay.provider):
            log.exception("relay failed", relay=relay.name, job_id=run.job_id)
        return ev.Failed(run.job_id, fault)
    finally:
        await work.aclose()
