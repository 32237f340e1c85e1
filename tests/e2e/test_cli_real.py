"""The command line with the real service and the embedded engine, in processes of their own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]
HELLO = "contrib/samples/hello.wav"
EMBEDDED = "pocketsphinx-en-us"
SAID = "the weather is nice today"
BOUND_S = 100


def environment(tmp_path: Path) -> dict[str, str]:
    """No configuration of whoever runs the tests, nobody on the configured port, spool files apart."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("AISTACK_")}
    return env | {
        "XDG_CONFIG_HOME": str(tmp_path),
        "APPDATA": str(tmp_path),
        "AISTACK_SERVER__LISTEN": "127.0.0.1:1",
        "AISTACK_SERVER__SPOOL_DIR": str(tmp_path),
        "HF_HUB_OFFLINE": "1",
    }


def aistack(tmp_path: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "aistack", *argv],
        capture_output=True,
        text=True,
        env=environment(tmp_path),
        cwd=ROOT,
        timeout=BOUND_S,
        check=False,
    )


def test_a_file_is_transcribed_alone_and_nothing_is_left_behind(tmp_path: Path) -> None:
    done = aistack(tmp_path, "transcribe", "--model", EMBEDDED, HELLO)
    assert (done.returncode, done.stderr) == (0, "")
    assert SAID in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_audio_is_the_servers_sentence(tmp_path: Path) -> None:
    done = aistack(tmp_path, "transcribe", "--model", EMBEDDED, "README.md")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "aistack: The file could not be read as audio.\n"


def test_a_server_its_client_and_its_end(tmp_path: Path) -> None:
    server = subprocess.Popen(
        [sys.executable, "-m", "aistack", "serve", "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(tmp_path),
        cwd=ROOT,
    )
    try:
        assert server.stderr is not None
        address = re.search(
            r"listens on (\S+)", "".join(iter(server.stderr.readline, "  Stop     Ctrl-C\n"))
        )
        assert address is not None
        asked = aistack(
            tmp_path, "transcribe", "--model", EMBEDDED, "--server", address[1], "--format", "vtt", HELLO
        )
        assert asked.returncode == 0
        assert asked.stdout.startswith("WEBVTT\n")
        listed = aistack(tmp_path, "models", "--server", address[1])
        assert re.search(rf"^{EMBEDDED} +asr +en +yes +yes$", listed.stdout, re.M)
        children = psutil.Process(server.pid).children(recursive=True)
        assert children
        server.send_signal(signal.SIGTERM)
        out, _ = server.communicate(timeout=BOUND_S)
    finally:
        server.kill()
        server.communicate()
    assert server.returncode == 0
    lines = [json.loads(line) for line in out.splitlines()]
    (done,) = [line for line in lines if line["message"] == "job.done"]
    assert (done["op"], done["outcome"], done["model"]) == ("transcribe", "ok", EMBEDDED)
    assert done["audio_s"] > 7
    assert SAID not in out
    assert psutil.wait_procs(children, timeout=BOUND_S)[1] == []
    assert list(tmp_path.iterdir()) == []
