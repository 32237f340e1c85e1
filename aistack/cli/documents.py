"""Commands that print what is made from the code: sample configuration, reference, states, completion
scripts."""

from __future__ import annotations

import argparse

from aistack.cli.exits import OK
from aistack.cli.parser import parser


def sample_config(args: argparse.Namespace) -> int:
    """`aistack sample-config`."""
    from aistack.config.sample import sample

    print(sample(), end="")
    return OK


def openapi(args: argparse.Namespace) -> int:
    """`aistack openapi`: the document of a service with all its parts."""
    import json

    from aistack.web.openapi.document import build
    from aistack.web.operations import EVERY

    print(json.dumps(build(EVERY), indent=2, ensure_ascii=False))
    return OK


def states(args: argparse.Namespace) -> int:
    """`aistack states`: the states of a job and what leads where, as Markdown."""
    from aistack.jobs.picture import states_page

    print(states_page(), end="")
    return OK


def completion(args: argparse.Namespace) -> int:
    """`aistack completion SHELL`: a script that teaches the shell our commands and options."""
    print(script(args.shell, parser()), end="")
    return OK


def script(shell: str, parser: argparse.ArgumentParser) -> str:
    """The script for `bash`, `zsh` or `fish`."""
    import shtab

    for action in _actions(parser):
        if action.metavar == "FILE":
            action.complete = shtab.FILE  # type: ignore[attr-defined]
    text: str = shtab.complete(parser, shell)
    return text


def _actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """Those of the parser and of all below it."""
    found = list(parser._actions)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found += [each for below in action.choices.values() for each in _actions(below)]
    return found
