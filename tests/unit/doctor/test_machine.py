"""Cards, disk and ports, as the doctor tells them."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from collections import namedtuple
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web

from aistack.config import Config, ServerSection
from aistack.config.units import GiB
from aistack.doctor import machine as doctor_machine
from aistack.doctor.findings import FindingState
from aistack.doctor.machine import cards, disk, ports


class NvmlError(Exception):
    pass


class NotFound(NvmlError):
    pass


def nvml(count: int = 1, fails: Exception | None = None) -> SimpleNamespace:
    """The driver's library as the doctor uses it: this is no test of NVML, which needs a card."""

    def init() -> None:
        if fails is not None:
            raise fails

    return SimpleNamespace(
        NVMLError=NvmlError,
        NVMLError_LibraryNotFound=NotFound,
        nvmlInit=init,
        nvmlShutdown=lambda: None,
        nvmlSystemGetDriverVersion=lambda: b"999.1",
        nvmlDeviceGetCount=lambda: count,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetMemoryInfo=lambda _: SimpleNamespace(free=6 * GiB, total=8 * GiB),
        nvmlDeviceGetName=lambda index: f"Made Up {index}",
    )


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Any:
    def put(library: Any) -> None:
        monkeypatch.setitem(sys.modules, "pynvml", library)
        monkeypatch.setattr("importlib.util.find_spec", lambda name: library)

    return put


def test_cards_that_are_there(driver: Any) -> None:
    driver(nvml(2))
    first, second = cards(("auto",))
    assert (first.name, first.state) == ("cuda:0", FindingState.WORKS)
    assert second.says == "Made Up 1, 6.0 GiB of 8.0 GiB free, driver 999.1"


def test_a_configured_card_that_is_not_there(driver: Any) -> None:
    driver(nvml(1))
    found = cards(("cuda:0", "cuda:3"))
    assert [(each.name, each.state) for each in found] == [
        ("cuda:0", FindingState.WORKS),
        ("cuda:3", FindingState.BROKEN),
    ]


@pytest.mark.parametrize(
    ("devices", "state"), [(("auto",), FindingState.NOTE), (("cuda",), FindingState.BROKEN)]
)
@pytest.mark.parametrize(
    ("library", "words"),
    [
        (nvml(fails=NotFound()), "no driver on this machine"),
        (nvml(fails=NvmlError("Driver/library version mismatch")), "version mismatch"),
        (nvml(0), "the driver finds no GPU"),
        (None, "nvidia-ml-py is not installed"),
    ],
)
def test_no_card(
    library: Any, words: str, devices: tuple[str, ...], state: FindingState, driver: Any
) -> None:
    driver(library)
    (found,) = cards(devices)
    assert found.state is state
    assert words in found.says


# --- disk --------------------------------------------------------------------------------------------


def places(spool: Path, home: Path) -> dict[str, Any]:
    config = Config(server=ServerSection(spool_dir=str(spool)))
    found = disk(config, {"HF_HOME": str(home), "MODELSCOPE_CACHE": str(home / "ms")})
    return {each.name: each for each in found}


def test_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(9 * GiB, 0, 8 * GiB))
    found = places(tmp_path, tmp_path / "not" / "yet")
    assert {each.state for each in found.values()} == {FindingState.WORKS}
    assert found["models (Hugging Face)"].says == f"8.0 GiB free in {tmp_path / 'not' / 'yet' / 'hub'}"
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(9 * GiB, 0, GiB))
    found = places(tmp_path, tmp_path)
    assert found["uploads"].state is FindingState.NOTE and found["uploads"].says.startswith(
        "only 1.0 GiB free"
    )


def test_uploads_that_have_nowhere_to_go(tmp_path: Path) -> None:
    found = places(tmp_path / "gone", tmp_path)["uploads"]
    assert (found.state, found.help) == (FindingState.BROKEN, "set server.spool_dir")


def test_folders_that_cannot_be_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights may lie on a disk that is read-only; uploads may not."""
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    found = places(tmp_path, tmp_path)
    assert found["uploads"].state is FindingState.BROKEN
    assert found["models (Hugging Face)"].state is FindingState.NOTE


# --- ports -------------------------------------------------------------------------------------------


@contextmanager
def listening() -> Iterator[str]:
    """Somebody who listens and says nothing that is ours."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield f"127.0.0.1:{taken.getsockname()[1]}"


async def port(address: str) -> Any:
    (found,) = await ports(Config(server=ServerSection(listen=(address,))))
    return found


async def test_a_port_that_is_free() -> None:
    with listening() as address:
        pass
    found = await port(address)
    assert (found.state, found.says) == (FindingState.WORKS, "free")
    assert (await port("127.0.0.1:0")).says == "any free port"


async def test_a_port_that_another_program_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_machine, "ASK_S", 0.3)
    with listening() as address:
        found = await port(address)
    assert (found.state, found.says) == (FindingState.BROKEN, "another program listens there")


async def test_a_port_that_aistack_has() -> None:
    async def health(request: web.Request) -> web.Response:
        return web.json_response({"status": "ok", "version": "1.2.3", "ready": False})

    app = web.Application()
    app.router.add_get("/health", health)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        found = await port(f"127.0.0.1:{runner.addresses[0][1]}")
    finally:
        await runner.cleanup()
    assert (found.state, found.says) == (FindingState.WORKS, "aistack 1.2.3 is running there")


async def test_an_address_that_is_not_ours() -> None:
    found = await port("192.0.2.7:8003")
    assert found.state is FindingState.BROKEN
    assert found.says == "this machine does not have that address"
