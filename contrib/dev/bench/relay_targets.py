"""What `relay` measures side by side: processes on loopback, each with its port and its CPU time."""

from __future__ import annotations

import contextlib
import glob
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
from attrs import define

from contrib.dev.bench.harness import ROOT, free_port, wait_healthy

START_S = 180.0
LITELLM_MODELS = ("fake-0", "fake-5", "fake-20")

NGINX = """
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx.err;
events {{ worker_connections 1024; }}
http {{
  access_log off; client_max_body_size 1g; {temporary}
  upstream up {{ server 127.0.0.1:{upstream}; keepalive 64; }}
  server {{
    listen 127.0.0.1:{port}; keepalive_requests 1000000;
    location / {{
      proxy_pass http://up; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_buffering off; proxy_read_timeout 600s;
    }}
  }}
}}
"""

AISTACK = """
[server]
spool_dir = "{folder}"

[ollama]
url = "http://127.0.0.1:{upstream}"

[qwen_tts]
url = "http://127.0.0.1:{upstream}"

[slots]
devices = ["cpu"]

[log]
level = "info"
format = "json"
"""


@define
class Target:
    """One server; `pid` is its first process."""

    name: str
    port: int
    pid: int

    @property
    def tree(self) -> list[psutil.Process]:
        first = psutil.Process(self.pid)
        return [first, *first.children(recursive=True)]

    @property
    def rss(self) -> int:
        """Resident bytes of the first process."""
        return int(psutil.Process(self.pid).memory_info().rss)

    def cpu_s(self) -> float:
        """User and system seconds of all its processes and threads so far.

        From the scheduler's own nanoseconds on Linux, where the usual clock ticks every 10 ms.
        """
        total = 0.0
        for process in self.tree:
            fine = _fine_s(process.pid)
            times = process.cpu_times()
            total += times.user + times.system if fine is None else fine
        return total


def _fine_s(pid: int) -> float | None:
    spent = [Path(name).read_text() for name in glob.glob(f"/proc/{pid}/task/*/schedstat")]
    return sum(int(text.split()[0]) for text in spent) / 1e9 if spent else None


@contextlib.contextmanager
def process(command: Sequence[str], log: Path, **environ: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a group of its own, its output in `log`; the group is ended at the end."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", **environ}
    with log.open("ab") as out:
        started = subprocess.Popen(
            command, stdout=out, stderr=out, env=env, cwd=log.parent, start_new_session=True
        )
    try:
        yield started
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGTERM)
        try:
            started.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(started.pid, signal.SIGKILL)
            started.wait()


@define
class Bench:
    """Everything that runs; `key` is the bearer key every client sends (LiteLLM insists on one)."""

    upstream: Target
    targets: list[Target]
    key: str

    def named(self, name: str) -> Target:
        return next(target for target in self.targets if target.name == name)


@contextlib.contextmanager
def started(litellm: str, nginx: bool) -> Iterator[Bench]:
    """The upstream and every target, answering. `litellm`: its command, empty for none."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        key = "sk-" + secrets.token_urlsafe(32)

        def up(name: str, *command: str, path: str = "/health", **environ: str) -> Target:
            port = ports[name]
            log = folder / f"{name}.log"
            running = stack.enter_context(process(command, log, **environ))
            try:
                wait_healthy(port, START_S, path)
            except SystemExit:
                raise SystemExit(f"{name} did not start: {log.read_text()[-2000:]}") from None
            return Target(name, port, running.pid)

        ports = {
            name: free_port()
            for name in ("upstream", "bare", "bare+touch", "aistack", "nginx", "litellm")
        }
        url = f"http://127.0.0.1:{ports['upstream']}"
        python, bench = sys.executable, "contrib.dev.bench"
        module = f"{bench}.relay_bare"
        upstream = up("upstream", python, "-m", f"{bench}.relay_upstream", str(ports["upstream"]))
        targets = [
            Target("direct", upstream.port, upstream.pid),
            up("bare", python, "-m", module, str(ports["bare"]), url, "parse"),
            up("bare+touch", python, "-m", module, str(ports["bare+touch"]), url, "parse", "touch"),
        ]
        config = folder / "aistack.toml"
        config.write_text(AISTACK.format(folder=folder, upstream=upstream.port))
        serve = ("-m", "aistack", "serve", "--config", str(config), "--port", str(ports["aistack"]))
        targets.append(up("aistack", python, *serve))
        if nginx:
            targets.append(up("nginx", *_nginx(folder, ports["nginx"], upstream.port)))
        if litellm:
            made = _litellm(folder, url)
            address = ("--host", "127.0.0.1", "--port", str(ports["litellm"]), "--num_workers", "1")
            environ = {
                "LITELLM_LOCAL_MODEL_COST_MAP": "True",
                "LITELLM_LOG": "ERROR",
                "LITELLM_TELEMETRY": "False",
                "LITELLM_MASTER_KEY": key,
            }
            path = "/health/liveliness"
            targets.append(up("litellm", litellm, "--config", str(made), *address, path=path, **environ))
        yield Bench(upstream, targets, key)


def _nginx(folder: Path, port: int, upstream: int) -> list[str]:
    command = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
    if command is None:
        raise SystemExit("there is no nginx (Debian: apt-get install nginx-light)")
    folder.chmod(0o755)  # its workers run as another user if we are root
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = " ".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
    made = folder / "nginx.conf"
    made.write_text(NGINX.format(folder=folder, port=port, upstream=upstream, temporary=temporary))
    return [command, "-c", str(made), "-p", str(folder)]


def _litellm(folder: Path, url: str) -> Path:
    """JSON is YAML."""
    config = {
        "model_list": [
            {
                "model_name": name,
                "litellm_params": {"model": f"openai/{name}", "api_base": f"{url}/v1", "api_key": "x"},
            }
            for name in LITELLM_MODELS
        ],
        "litellm_settings": {"telemetry": False, "num_retries": 0},
        "general_settings": {"disable_spend_logs": True},
    }
    made = folder / "litellm.yaml"
    made.write_text(json.dumps(config))
    return made


def load_average() -> str:
    """The one-minute load: who quotes wall-clock figures must say it."""
    return f"{os.getloadavg()[0]:.1f}"


def settle(seconds: float = 0.3) -> None:
    """Let what one measurement left behind (closing connections, log writers) run dry."""
    time.sleep(seconds)
