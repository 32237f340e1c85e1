"""Settings of the service itself: addresses, slots, engine processes, model names, log. See `config`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from annotated_doc import Doc
from attrs import evolve, field, frozen

from aistack.config.addresses import Addresses
from aistack.config.section import Section
from aistack.config.units import MONTH_S, GiB, MiB
from aistack.contract.limits import Items, Range


@frozen
class ServerSection(Section):
    """Where the service listens, and who may use it."""

    listen: Annotated[
        tuple[str, ...],
        Doc("Addresses to listen on, as host:port; more than one is allowed."),
        Addresses(),
    ] = ("127.0.0.1:11500",)
    api_keys: Annotated[
        tuple[str, ...],
        Doc("Bearer keys for /v1, /admin data and /metrics. Empty: no key is required."),
    ] = field(default=(), repr=False)
    allowed_origins: Annotated[
        tuple[str, ...], Doc("Browser origins, besides the service's own, that may call it.")
    ] = ()
    allowed_hosts: Annotated[
        tuple[str, ...], Doc("DNS names, besides the machine's own, that a Host header may carry.")
    ] = ()
    drain_grace_s: Annotated[
        float, Doc("After SIGTERM: how long running jobs may continue."), Range(0, MONTH_S)
    ] = 20.0
    send_timeout_s: Annotated[
        float, Doc("Disconnect a client that accepts no data for this long."), Range(0.001, MONTH_S)
    ] = 120.0
    upload_idle_s: Annotated[
        float, Doc("Abort an upload that sends no data for this long."), Range(0.001, MONTH_S)
    ] = 60.0
    max_upload_bytes: Annotated[
        int,
        Doc("Largest audio upload; a larger one gets 413."),
        Range(1),
    ] = 1 * GiB
    max_json_bytes: Annotated[int, Doc("Largest JSON body; a larger one gets 413."), Range(1)] = 64 * MiB
    spool_dir: Annotated[
        str, Doc("Folder for uploads in progress. Empty: the system's temporary folder.")
    ] = ""


@frozen
class SlotsSection(Section):
    """The GPUs, and how jobs share them."""

    devices: Annotated[
        tuple[str, ...],
        Doc('One slot per device: "auto" (cuda:0 if there is a GPU), "cpu", "cuda:1", ...'),
        Items(1),
    ] = ("auto",)
    line_max: Annotated[
        int, Doc("How many callers may queue (those that send Prefer: wait=N)."), Range(0, 10_000)
    ] = 16
    wait_s: Annotated[
        float,
        Doc("How long callers without Prefer: wait may queue; 0: they get 503 at once."),
        Range(0, MONTH_S),
    ] = 0.0
    wait_max_s: Annotated[
        float,
        Doc("Upper limit on a caller's Prefer: wait=N."),
        Range(0, MONTH_S),
    ] = 300.0
    idle_unload_s: Annotated[
        float, Doc("Unload a model after this long without use; 0: never."), Range(0, MONTH_S)
    ] = 300.0
    preload: Annotated[str, Doc("A model to load at start-up.")] = ""
    slow_client_s: Annotated[
        float,
        Doc("Disconnect a client that holds up a relayed response for this long in total."),
        Range(0.001, MONTH_S),
    ] = 300.0
    open_after_s: Annotated[
        float,
        Doc("Send the headers of a streaming response after this long without data."),
        Range(0.001, MONTH_S),
    ] = 15.0
    heartbeat_s: Annotated[
        float, Doc("Send a comment when a stream has been silent for this long."), Range(0.001, MONTH_S)
    ] = 10.0


@frozen
class EnginesSection(Section):
    """Settings that all engine processes share."""

    kill_after_s: Annotated[
        float,
        Doc("Kill a cancelled run that is still going after this long; 0: the engine decides."),
        Range(0, MONTH_S),
    ] = 0.0
    stall_s: Annotated[
        float,
        Doc("Kill a load or run that shows no sign of life for this long."),
        Range(0.001, MONTH_S),
    ] = 120.0
    start_s: Annotated[
        float, Doc("How long an engine process may take to report that it is up."), Range(0.001, MONTH_S)
    ] = 120.0
    nice: Annotated[int, Doc("Niceness of engine processes (POSIX)."), Range(0, 19)] = 10
    threads: Annotated[int, Doc("CPU threads per engine; 0: the engine decides."), Range(0, 1024)] = 0
    spare: Annotated[
        Literal["auto", "on", "off"],
        Doc("Keep a warm process ready for an evicted engine; auto: with 16 GB of RAM or more."),
    ] = "auto"
    disabled: Annotated[
        tuple[str, ...], Doc("Engines not to offer, by name (whisper, sphinx, ...).")
    ] = ()


DEFAULT_ALIASES: Mapping[str, str] = {
    "whisper-1": "whisper-small",
    "gpt-4o-transcribe": "auto",
    "gpt-4o-mini-transcribe": "auto",
    "gpt-transcribe": "auto",
}


@frozen
class ModelsSection(Section):
    """Model names beyond the built-in ones."""

    local: Annotated[
        Mapping[str, str], Doc("Whisper model directories, by the id under which each is served.")
    ] = field(factory=dict)
    aliases: Annotated[
        Mapping[str, str], Doc("Ids that stand for others; accepted, but not listed.")
    ] = field(factory=lambda: dict(DEFAULT_ALIASES))


@frozen
class LogSection(Section):
    """What is logged, and how."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"], Doc("Lowest level that is logged.")
    ] = "info"
    format: Annotated[
        Literal["auto", "json", "pretty"], Doc("Log format; auto: pretty on a terminal, otherwise json.")
    ] = "auto"

    def quiet(self) -> LogSection:
        """For a command that prints its result: errors only, but everything while debugging."""
        return self if self.level == "debug" else evolve(self, level="error")
