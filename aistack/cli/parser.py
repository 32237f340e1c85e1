"""The grammar of the command line: commands, options, and which function runs each command.

Importing it is light: `run` names a function as `module:name`, and `main` imports the module of the
command that runs, so that `aistack --help` answers at once.
"""

from __future__ import annotations

import argparse
from typing import Any

from aistack import __version__

SHELLS = ("bash", "zsh", "fish")
FORMATS = ("text", "json", "verbose_json", "srt", "vtt")


def parser() -> argparse.ArgumentParser:
    """The whole grammar."""
    top = argparse.ArgumentParser(
        prog="aistack",
        description="An OpenAI-compatible server that shares one GPU between speech and chat.",
        epilog="exit codes: 0 done, 1 failed, 2 usage or configuration error, 3 server busy, "
        "4 no server, 130 stopped",
    )
    top.add_argument("--version", action="version", version=f"aistack {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--config", metavar="FILE", help="configuration file (TOML)")
    common.add_argument("--fake", action="store_true", help=argparse.SUPPRESS)

    serve = commands.add_parser("serve", parents=[common], help="start the server")
    _runs(serve, "aistack.cli.serve:serve", configured=True)
    serve.add_argument("--host", help="address to listen on (default: 127.0.0.1)")
    serve.add_argument("--port", type=_port, help="port to listen on, 0 for a free one (default: 11500)")

    serve.add_argument(
        "--demo",
        action="store_true",
        help="try it out: chat and speech are scripted, transcription is real",
    )

    client = argparse.ArgumentParser(add_help=False)
    client.add_argument(
        "--server",
        metavar="URL",
        type=_url,
        help="use this server (default: the configured address if a server answers there, else none)",
    )

    transcribe = commands.add_parser(
        "transcribe",
        parents=[common, client],
        help="transcribe an audio file",
        description="Transcribe an audio file and print the transcript. Uses a running server if "
        "there is one; otherwise this command does the work.",
    )
    _runs(transcribe, "aistack.cli.transcribe:transcribe", configured=True)
    transcribe.add_argument("file", metavar="FILE", help="audio in any common format")
    transcribe.add_argument("--model", default="auto", help="id from `aistack models` (default: auto)")
    transcribe.add_argument("--language", metavar="CODE", help="language of the speech, such as en")
    transcribe.add_argument("--format", choices=FORMATS, default="text", help="default: text")
    transcribe.add_argument("--translate", action="store_true", help="translate to English")
    transcribe.add_argument(
        "--wait",
        metavar="SECONDS",
        type=_seconds,
        default=60.0,
        help="how long to wait for a busy server (default: 60)",
    )

    models = commands.add_parser("models", parents=[common, client], help="list the models")
    _runs(models, "aistack.cli.transcribe:models", configured=True)
    models.add_argument("--json", action="store_true", help="print the server's answer")

    _looking(commands, common)

    pull = commands.add_parser(
        "pull",
        parents=[common],
        help="download a model's files ahead of time",
        description="Download model files into the libraries' own caches, where the server finds them. "
        "An interrupted download resumes. No server is needed.",
    )
    _runs(pull, "aistack.cli.pull:pull", configured=True)
    pull.add_argument(
        "models",
        nargs="+",
        metavar="MODEL",
        help="a model name as clients send it: small, parakeet, auto, ...",
    )

    doctor = commands.add_parser(
        "doctor",
        parents=[common],
        help="check what works here, what is missing, and how to get it",
        description="Check everything a server needs here: the configuration, each engine's libraries "
        "(loaded in separate processes), audio, GPUs, model files, disk, ports, hubs and other "
        "servers. Exits with 1 if anything that is configured is broken.",
    )
    _runs(doctor, "aistack.cli.doctor:doctor")
    doctor.add_argument("--json", action="store_true", help="print the findings as JSON")

    for name, function, what in (
        ("sample-config", "sample_config", "print a configuration file that explains every setting"),
        ("openapi", "openapi", "print the API reference (OpenAPI 3.1)"),
        ("states", "states", "print the states of a job and the transitions between them"),
    ):
        _runs(commands.add_parser(name, help=what), f"aistack.cli.documents:{function}")
    completion = commands.add_parser(
        "completion",
        help="print a shell completion script",
        description="Print a completion script. In bash: source <(aistack completion bash)",
    )
    _runs(completion, "aistack.cli.documents:completion")
    completion.add_argument("shell", choices=SHELLS, metavar="SHELL", help="bash, zsh or fish")
    return top


def _runs(parser: argparse.ArgumentParser, function: str, configured: bool = False) -> None:
    """Name the function that runs the command; `configured`: it also takes the loaded configuration."""
    parser.set_defaults(run=function, configured=configured)


def _looking(commands: Any, common: argparse.ArgumentParser) -> None:
    """The commands that query a running server."""
    there = argparse.ArgumentParser(add_help=False)
    there.add_argument(
        "--server", metavar="URL", type=_url, help="the server (default: the configured address)"
    )
    status = commands.add_parser(
        "status",
        parents=[common, there],
        help="show the running job, the queue, and the models in memory",
        description="Show what a running server is doing: each slot with its job, the queue, memory, "
        "and the most recent jobs.",
    )
    _runs(status, "aistack.cli.status:status", configured=True)
    status.add_argument("--json", action="store_true", help="print the server's answer")
    status.add_argument("--watch", action="store_true", help="refresh every second until Ctrl-C")
    logs = commands.add_parser(
        "logs",
        parents=[common, there],
        help="show log lines in readable form",
        description="Show the last log lines of a running server (up to 500), or those of a file or a "
        "pipe: aistack serve | aistack logs -",
    )
    _runs(logs, "aistack.cli.logs:logs", configured=True)
    logs.add_argument("file", nargs="?", metavar="FILE", help="a log file; - for stdin")
    logs.add_argument(
        "-n",
        "--lines",
        type=_lines,
        metavar="N",
        help="show the last N lines (default: 200 from a server, all of a file)",
    )
    logs.add_argument("-f", "--follow", action="store_true", help="keep showing new lines until Ctrl-C")
    logs.add_argument(
        "--level",
        choices=("debug", "info", "warning", "error"),
        default="debug",
        help="lowest level to show (default: debug)",
    )
    logs.add_argument("--request", metavar="ID", help="only lines of the request with this X-Request-ID")


def _port(text: str) -> int:
    port = int(text) if text.isascii() and text.isdigit() else -1
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port between 0 and 65535")
    return port


def _lines(text: str) -> int:
    count = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
    if count < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a valid number of lines")
    return count


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 86_400:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds between 0 and 86400")
    return seconds


def _url(text: str) -> str:
    if not text.startswith(("http://", "https://")):
        raise argparse.ArgumentTypeError(f"{text!r} is not a URL like http://127.0.0.1:11500")
    return text.rstrip("/")
