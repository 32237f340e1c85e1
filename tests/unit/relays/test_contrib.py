"""The files under contrib that cannot be run here: their structure, and that they agree with us."""

from __future__ import annotations

import ast
import configparser
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from aistack.config import Server
from aistack.relays.qwen_tts import QwenTtsSettings

CONTRIB = Path(__file__).parents[3] / "contrib"
FILES = ("tts_qwen3", "gateway")

TOP = {"name", "services", "volumes", "networks", "configs", "secrets"}
SERVICE = {
    *("build", "cap_add", "cap_drop", "command", "container_name", "depends_on", "deploy", "devices"),
    *("entrypoint", "env_file", "environment", "expose", "extra_hosts", "healthcheck", "image", "init"),
    *("ipc", "labels", "logging", "network_mode", "networks", "ports", "profiles", "read_only"),
    *("restart", "runtime", "secrets", "security_opt", "shm_size", "stop_grace_period"),
    *("stop_signal", "tmpfs", "ulimits", "user", "volumes", "working_dir"),
}
"""The service attributes of the Compose specification that a file of ours may use."""
HEALTH = {"test", "interval", "timeout", "retries", "start_period", "start_interval", "disable"}
DURATION = re.compile(r"(\d+(us|ms|s|m|h))+")
VARIABLE = re.compile(r"\$\{[A-Z_]+:-[^}]*\}")


def compose(name: str) -> dict[str, Any]:
    value = yaml.safe_load((CONTRIB / "docker" / name / "docker-compose.yml").read_text())
    assert isinstance(value, dict)
    return value


def service(name: str) -> dict[str, Any]:
    (one,) = compose(name)["services"].values()
    assert isinstance(one, dict)
    return one


@pytest.mark.parametrize("name", FILES)
def test_compose_files_are_of_the_specifications_shape(name: str) -> None:
    value = compose(name)
    assert set(value) <= TOP
    one = service(name)
    assert set(one) <= SERVICE
    assert ":" in one["image"] and not one["image"].endswith(":latest")
    assert one["restart"] in ("no", "always", "on-failure", "unless-stopped")
    for key in ("command", "entrypoint", "cap_drop", "security_opt", "tmpfs"):
        assert all(isinstance(item, str) for item in one.get(key, []))
    assert all(isinstance(text, str) for text in one["environment"].values())
    for volume in one["volumes"]:
        source, _, target = volume.partition(":")
        assert source in value["volumes"] and target.startswith("/")
    (device,) = one["deploy"]["resources"]["reservations"]["devices"]
    assert device["capabilities"] == ["gpu"] and device["driver"] == "nvidia"
    assert device["count"] == "all" or isinstance(device["count"], int)


@pytest.mark.parametrize("name", FILES)
def test_health_checks_ask_the_port_that_is_served(name: str) -> None:
    health = service(name)["healthcheck"]
    assert set(health) <= HEALTH
    kind, program, flag, code = health["test"]
    assert (kind, program, flag) == ("CMD", "python3", "-c")
    ast.parse(code)
    for key in ("interval", "timeout", "start_period"):
        assert DURATION.fullmatch(health[key])
    port = "8091" if name == "tts_qwen3" else Server().listen[0].rpartition(":")[2]
    assert f"http://127.0.0.1:{port}/health" in code


@pytest.mark.parametrize("name", FILES)
def test_every_variable_has_a_default(name: str) -> None:
    text = (CONTRIB / "docker" / name / "docker-compose.yml").read_text()
    assert text.count("${") == len(VARIABLE.findall(text))


def test_the_speech_container_is_where_and_what_we_expect() -> None:
    one, ours = service("tts_qwen3"), QwenTtsSettings()
    (port,) = one["ports"]
    address, outside, inside = port.split(":")
    where = urlsplit(ours.url)
    assert (address, int(outside)) == (where.hostname, where.port)
    assert f"--port={inside}" in one["command"]
    names = one["command"][one["command"].index("--served-model-name") + 1 :][:2]
    assert names == [ours.model, one["command"][0]]
    assert one["ipc"] == "host", "more than Docker's 64 MB of shared memory"
    share = next(item for item in one["command"] if item.startswith("--gpu-memory-utilization="))
    assert share.endswith("${AISTACK_TTS_GPU_SHARE:-0.5}")


def test_the_gateway_gives_up_what_it_does_not_need() -> None:
    one = service("gateway")
    assert one["read_only"] is True and one["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in one["security_opt"]
    grace = int(one["stop_grace_period"].removesuffix("s"))
    assert grace > Server().drain_grace_s + 10
    dockerfile = (CONTRIB / "docker" / "gateway" / "Dockerfile").read_text()
    assert one["build"]["dockerfile"] == "contrib/docker/gateway/Dockerfile"
    assert re.search(r"^USER aistack$", dockerfile, re.M)
    for volume in one["volumes"]:
        folder = volume.partition(":")[2]
        made = rf"^RUN .*install -d -o aistack -g aistack {re.escape(folder)}$"
        found = re.search(made, dockerfile, re.M)
        assert found is not None, "a new volume would be root's, and the user could not write to it"
        assert found.start() < dockerfile.index("USER aistack")


def test_the_unit_is_one_and_is_hardened() -> None:
    unit = configparser.RawConfigParser(strict=False, delimiters=("=",), comment_prefixes=("#",))
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string((CONTRIB / "systemd" / "aistack.service").read_text())
    assert set(unit.sections()) == {"Unit", "Service", "Install"}
    service = unit["Service"]
    assert service["ExecStart"].endswith("/aistack serve")
    assert float(service["TimeoutStopSec"]) > Server().drain_grace_s + 10
    for name in ("NoNewPrivileges", "ProtectHome", "PrivateTmp", "RestrictNamespaces", "DynamicUser"):
        assert service[name] == "yes", name
    assert service["ProtectSystem"] == "strict" and service["CapabilityBoundingSet"] == ""
    assert service["KillMode"] == "mixed", "engines end with the gateway, not before its drain"


@pytest.mark.parametrize("name", ["docker/tts_qwen3", "docker/gateway", "systemd"])
def test_each_says_what_was_not_run(name: str) -> None:
    assert "## What was not run" in (CONTRIB / name / "README.md").read_text()


def test_the_extras_that_are_installed_exist() -> None:
    config = configparser.ConfigParser()
    config.read(CONTRIB.parent / "setup.cfg", encoding="utf-8")
    known = set(config["options.extras_require"])
    files = ("docker/gateway/Dockerfile", "systemd/aistack.service")
    for name in files:
        (named,) = re.findall(r"['\"](?:\.|/src)\[([\w,]+)\]['\"]", (CONTRIB / name).read_text())
        assert set(named.split(",")) <= known, name
