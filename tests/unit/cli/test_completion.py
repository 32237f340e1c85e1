"""`aistack completion`: the script in a real bash completes what the parser knows."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from aistack.cli import main as cli

ASK = """
set -u
source "$1"; shift
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_LINE="$*" COMP_POINT=${#COMP_LINE} COMP_TYPE=9
rule=$(complete -p aistack); rule=${rule##*-F }; function=${rule%% *}
COMPREPLY=()
"$function" aistack "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The script, as a shell would get it."""
    path = tmp_path_factory.mktemp("completion") / "aistack.bash"
    command = [sys.executable, "-m", "aistack", "completion", "bash"]
    done = subprocess.run(command, capture_output=True, check=True, timeout=60)
    path.write_bytes(done.stdout)
    return path


def completed(script: Path, *words: str, cwd: Path | None = None) -> set[str]:
    """What bash offers for the last word."""
    command = ["bash", "--norc", "-c", ASK, "bash", str(script), "aistack", *words]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=30, cwd=cwd, env={"PATH": os.environ["PATH"]}
    )
    assert done.returncode == 0, done.stderr
    return {word.rstrip() for word in done.stdout.splitlines() if word}


def test_bash_completes_commands_options_and_choices(script: Path) -> None:
    assert completed(script, "st") == {"states", "status"}
    assert completed(script, "tr") == {"transcribe"}
    assert {"--json", "--watch", "--server", "--config"} <= completed(script, "status", "--")
    assert completed(script, "transcribe", "--format", "v") == {"verbose_json", "vtt"}
    assert completed(script, "logs", "--level", "w") == {"warning"}
    assert completed(script, "completion", "") == {"bash", "zsh", "fish"}


def test_bash_completes_files(script: Path, tmp_path: Path) -> None:
    (tmp_path / "speech.wav").touch()
    assert completed(script, "transcribe", "spe", cwd=tmp_path) == {"speech.wav"}
    assert completed(script, "serve", "--config", "spe", cwd=tmp_path) == {"speech.wav"}


@pytest.mark.parametrize(("shell", "begin"), [("zsh", "#compdef aistack"), ("fish", "")])
def test_the_other_shells_get_theirs(shell: str, begin: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["completion", shell]) == 0
    text = capsys.readouterr().out
    assert text.startswith(begin)
    assert all(word in text for word in ("transcribe", "verbose_json", "watch"))


def test_another_shell_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["completion", "tcsh"])
    assert caught.value.code == 2
