"""The command line: `aistack serve | transcribe | models | status | logs | doctor | ...`.

Only the parser lives here, and what it imports is light: each command imports what it needs when
it runs, so that `aistack --help` answers at once and `serve` listens within a second.

Exit codes are the same for every command: `EXITS`.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from aistack import __version__

if TYPE_CHECKING:
    from aistack.config.load import Loaded

OK, FAILED, USAGE, BUSY, UNREACHABLE, STOPPED = 0, 1, 2, 3, 4, 130
EXITS = {
    OK: "done",
    FAILED: "failed; the reason is on stderr, or in the report of `doctor`",
    USAGE: "wrong usage, a file that cannot be read, an unknown model to pull, a wrong configuration",
    BUSY: "the server stayed busy for all of `--wait`",
    UNREACHABLE: "no server answers there, or the connection to it broke",
    STOPPED: "stopped with Ctrl-C (`serve`: by the second one; the first ends it with 0)",
}
"""What every exit code means, for every command."""
SHELLS = ("bash", "zsh", "fish")
FORMATS = ("text", "json", "verbose_json", "srt", "vtt")


def parser() -> argparse.ArgumentParser:
    """The whole grammar."""
    top = argparse.ArgumentParser(
        prog="aistack",
        description="One OpenAI-compatible server that shares one GPU.",
        epilog="exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 server busy, "
        "4 no server, 130 stopped",
    )
    top.add_argument("--version", action="version", version=f"aistack {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--config", metavar="FILE", help="configuration file (TOML)")
    common.add_argument("--fake", action="store_true", help=argparse.SUPPRESS)

    serve = commands.add_parser("serve", parents=[common], help="start the server")
    serve.add_argument("--host", help="address to listen on (default: 127.0.0.1)")
    serve.add_argument("--port", type=_port, help="port to listen on, 0 for a free one (default: 11500)")

    serve.add_argument(
        "--demo",
        action="store_true",
        help="try it out: chat and speech by scripted upstreams, transcription by the real engines",
    )

    client = argparse.ArgumentParser(add_help=False)
    client.add_argument(
        "--server",
        metavar="URL",
        type=_url,
        help="use this server (default: the configured address if one answers there, else no server)",
    )

    transcribe = commands.add_parser(
        "transcribe",
        parents=[common, client],
        help="transcribe an audio file",
        description="Transcribe an audio file and print the transcript. A running server is used if "
        "there is one, else the work is done here.",
    )
    transcribe.add_argument("file", metavar="FILE", help="audio in any common format")
    transcribe.add_argument("--model", default="auto", help="model id, as in `aistack models`")
    transcribe.add_argument("--language", metavar="CODE", help="language of the speech, like en")
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
    models.add_argument("--json", action="store_true", help="print the server's answer")

    _looking(commands, common)

    pull = commands.add_parser(
        "pull",
        parents=[common],
        help="fetch a model's weights ahead of time",
        description="Fetch weights into the libraries' own caches, where the server finds them. A "
        "download that broke off goes on where it stopped. No server is needed.",
    )
    pull.add_argument(
        "models",
        nargs="+",
        metavar="MODEL",
        help="as a client would name it: small, parakeet, auto, ...",
    )

    doctor = commands.add_parser(
        "doctor",
        parents=[common],
        help="say what works here, what is missing, and how to get it",
        description="Look at everything a server here would need: the configuration, each engine's "
        "libraries (loaded in a process of their own), audio, cards, weights, disk, ports, hubs "
        "and other servers. The exit code is 1 if anything that is configured is broken.",
    )
    doctor.add_argument("--json", action="store_true", help="print the findings as JSON")

    commands.add_parser("sample-config", help="print a configuration file with every setting explained")
    commands.add_parser("openapi", help="print the reference of the interfaces (OpenAPI 3.1)")
    commands.add_parser("states", help="print the states of a job and what leads where")
    completion = commands.add_parser(
        "completion",
        help="print a script that completes commands and options in a shell",
        description="Print a script for the shell. For bash, now: source <(aistack completion bash)",
    )
    completion.add_argument("shell", choices=SHELLS, metavar="SHELL", help="bash, zsh or fish")
    return top


def _looking(commands: Any, common: argparse.ArgumentParser) -> None:
    """The commands that look at a running server."""
    there = argparse.ArgumentParser(add_help=False)
    there.add_argument(
        "--server", metavar="URL", type=_url, help="the server (default: the configured address)"
    )
    status = commands.add_parser(
        "status",
        parents=[common, there],
        help="who holds the card, who waits, what is in memory",
        description="Show what a running server is doing: each slot with its job, the line, memory, "
        "and the last jobs.",
    )
    status.add_argument("--json", action="store_true", help="print the server's answer")
    status.add_argument("--watch", action="store_true", help="again every second, until Ctrl-C")
    logs = commands.add_parser(
        "logs",
        parents=[common, there],
        help="show log lines so that people can read them",
        description="Show the log lines a running server has in memory (500), or those of a file or a "
        "pipe: aistack serve | aistack logs -",
    )
    logs.add_argument("file", nargs="?", metavar="FILE", help="a log file, - for stdin")
    logs.add_argument(
        "-n",
        "--lines",
        type=_lines,
        metavar="N",
        help="the last N lines (default: 200 of a server, all of a file)",
    )
    logs.add_argument("-f", "--follow", action="store_true", help="go on as lines come, until Ctrl-C")
    logs.add_argument(
        "--level",
        choices=("debug", "info", "warning", "error"),
        default="debug",
        help="of this level and above",
    )
    logs.add_argument("--request", metavar="ID", help="only about the request with this X-Request-ID")


def _port(text: str) -> int:
    port = int(text) if text.isascii() and text.isdigit() else -1
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port between 0 and 65535")
    return port


def _lines(text: str) -> int:
    count = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
    if count < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of lines")
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


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the result is the exit code."""
    args = parser().parse_args(argv)
    try:
        code = _run(args)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return STOPPED
    except BrokenPipeError:
        # Whoever read our output has enough. Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return FAILED
    return code


def _run(args: argparse.Namespace) -> int:
    if args.command == "sample-config":
        from aistack.config.sample import sample

        print(sample(), end="")
        return OK
    if args.command == "openapi":
        from aistack.web.reference import printed

        print(printed(), end="")
        return OK
    if args.command == "states":
        return _states()
    if args.command == "completion":
        from aistack.cli.completion import script

        print(script(args.shell, parser()), end="")
        return OK
    if args.command == "doctor":
        from aistack.cli.doctor import doctor

        return doctor(args)
    loaded = _load(args)
    if loaded is None:
        return USAGE
    if args.command == "pull":
        from aistack.cli.pull import pull

        return pull(args, loaded)
    if args.command == "serve":
        from aistack.cli.serve import serve

        return serve(loaded, args.fake, args.demo)
    if args.command == "status":
        from aistack.cli.status import status

        return status(args, loaded)
    if args.command == "logs":
        from aistack.cli.logs import logs

        return logs(args, loaded)
    from aistack.cli.transcribe import models, transcribe

    return (transcribe if args.command == "transcribe" else models)(args, loaded)


def _load(args: argparse.Namespace) -> Loaded | None:
    from aistack.config.load import ConfigError, load

    try:
        loaded = load(args.config)
        if args.command == "serve" and (args.host is not None or args.port is not None):
            listen = _listen(loaded, args.host, args.port)
            loaded = load(args.config, flags={"server.listen": listen})
    except ConfigError as exc:
        for problem in exc.problems:
            say(problem)
        return None
    return loaded


def _listen(loaded: Loaded, host: str | None, port: int | None) -> tuple[str, ...]:
    """One address: the first configured one with what the command line says put in."""
    from aistack.config.rules import format_address, parse_address

    configured = parse_address(loaded.config.server.listen[0])
    return (
        format_address(configured[0] if host is None else host, configured[1] if port is None else port),
    )


def _states() -> int:
    import importlib

    try:
        picture = importlib.import_module("aistack.jobs.picture")
    except ModuleNotFoundError:
        say("This build has no page of states.")
        return FAILED
    print(picture.states_page(), end="")
    return OK


def say(message: str) -> None:
    """A sentence for the person at the terminal."""
    print(f"aistack: {message}", file=sys.stderr, flush=True)
