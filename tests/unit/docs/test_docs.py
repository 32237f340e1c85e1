"""What the documentation promises, compared with what is there."""

from __future__ import annotations

import argparse
import configparser
import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from aistack.chunks import Transcript
from aistack.cli.exits import EXITS
from aistack.cli.parser import parser
from aistack.config.legacy import LEGACY
from aistack.config.load import options
from aistack.engines.base import OfferedModel
from aistack.errors import ErrorKind, internal
from aistack.jobs import Outcome, OutcomeKind
from aistack.jobs.model import JobContext
from aistack.observe.job_line import done_fields
from tests.unit.observe.test_job_line import done

ROOT = Path(__file__).parents[3]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def blocks(section: str) -> list[str]:
    """The fenced blocks of a section of the README."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.search(rf"^## {section}$(.*?)(?=^## |\Z)", readme, re.M | re.S)
    assert found is not None
    return re.findall(r"^```(.*?)^```$", found[1], re.M | re.S)


@pytest.mark.parametrize("section", ["Run", "Test"])
def test_one_command_stands_alone(section: str) -> None:
    (block,) = blocks(section)
    language, _, command = block.partition("\n")
    assert language == "sh"
    assert len(command.strip().replace("\\\n", " ").splitlines()) == 1
    subprocess.run(["sh", "-nc", command], check=True, timeout=10)


def test_the_run_command_transcribes_a_file_of_the_repository() -> None:
    words = shlex.split(blocks("Run")[0].partition("\n")[2])
    args = parser().parse_args(words[words.index(".venv/bin/aistack") + 1 :])
    assert args.command == "transcribe"
    assert (ROOT / args.file).is_file()


def test_ci_runs_the_readmes_test_command() -> None:
    script = ROOT / ".ci/run"
    assert os.access(script, os.X_OK)
    shown = subprocess.run([script, "--show"], capture_output=True, text=True, check=True, timeout=10)
    assert shown.stdout == blocks("Test")[0].removeprefix("sh\n")
    text = script.read_text(encoding="utf-8")
    assert 'bash -euo pipefail -c "$command"' in text


def test_the_page_of_errors_has_every_kind_with_its_statuses() -> None:
    page = (ROOT / "docs/api/errors.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\w+)` \| ([\d, ]+) \|", page, re.M) == [
        (kind.word, ", ".join(map(str, kind.statuses))) for kind in ErrorKind
    ]


def test_every_old_environment_name_is_told() -> None:
    page = (ROOT / "docs/operating/configuration.md").read_text(encoding="utf-8")
    told = set(re.findall(r"`(AISTACK_[A-Z0-9_]+)`", page)) - {"AISTACK_CONFIG"}
    assert told == set(LEGACY)


def test_every_field_of_job_done_is_told() -> None:
    page = (ROOT / "docs/operating/configuration.md").read_text(encoding="utf-8")
    went_well = done_fields(
        done(
            Outcome(OutcomeKind.OK),
            granted=10.0,
            ran=11.0,
            first=12.0,
            result=Transcript("en", 1.0, "", 1),
            context=JobContext(client="x", format="json", bytes_in=1),
        )
    )
    went_wrong = done_fields(done(Outcome(OutcomeKind.FAILED, internal()), opened=True))
    fields = went_well.keys() | went_wrong.keys()
    assert {"rtf", "segments", "bytes_in", "code", "in_band"} <= fields
    assert {key for key in fields if f"`{key}`" not in page} == set()


def test_settings_named_in_the_pages_exist() -> None:
    known = {option.path for option in options()}
    sections = {path.partition(".")[0] for path in known}
    named = {
        (page.name, name)
        for page in PAGES
        for name in re.findall(r"`([a-z]+\.[a-z_]+)`", page.read_text(encoding="utf-8"))
        if name.partition(".")[0] in sections and not name.endswith((".py", ".md"))
    }
    assert {pair for pair in named if pair[1] not in known} == set()


def test_fields_of_a_model_are_told() -> None:
    page = (ROOT / "docs/api/models.md").read_text(encoding="utf-8")
    fields = {
        "id",
        "owned_by",
        "created",
        "capabilities",
        "languages",
        "supports_streaming",
        "loaded",
        "download",
    }
    shared = {"translate", "word_timestamps", "max_seconds", "is_routing_alias"}
    assert {name for name in fields | shared if f"`{name}`" not in page} == set()
    assert shared - {"is_routing_alias"} <= set(OfferedModel.__annotations__)


def test_extras_that_are_promised_exist() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    promised = {
        extra
        for page in PAGES
        for told in re.findall(r"(?<!\w)\.\[([\w,]+)\]", page.read_text(encoding="utf-8"))
        for extra in told.split(",")
    }
    assert {"all", "nanochat", "otel", "speech", "test"} <= promised
    assert promised <= set(config["options.extras_require"])
    assert {"parakeet", "sensevoice", "all", "test"} <= set(config["options.extras_require"])


def test_every_command_and_option_is_in_its_section() -> None:
    page = (ROOT / "docs/operating/command-line.md").read_text(encoding="utf-8")
    (commands,) = [each for each in parser()._actions if isinstance(each, argparse._SubParsersAction)]
    found = re.findall(r"^## `aistack ([\w-]+)`$(.*?)(?=^## |\Z)", page, re.M | re.S)
    sections = dict(found)
    assert sections.keys() == commands.choices.keys()
    everywhere = {"-h", "--help", "--config", "--fake"}
    for name, command in commands.choices.items():
        options = {each for action in command._actions for each in action.option_strings} - everywhere
        assert {each for each in options if f"`{each}" not in sections[name]} == set(), name


def test_every_exit_code_is_told() -> None:
    page = (ROOT / "docs/operating/command-line.md").read_text(encoding="utf-8")
    told = re.findall(r"^\| (\d+) \| (.*) \|$", page, re.M)
    assert told == [(str(code), says) for code, says in EXITS.items()]
    epilog = parser().epilog
    assert epilog is not None
    assert [int(code) for code in re.findall(r"\b\d+", epilog)] == list(EXITS)
