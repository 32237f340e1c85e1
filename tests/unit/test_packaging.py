"""What setup.cfg promises: which libraries in which versions, on which Pythons; and who tries that."""

from __future__ import annotations

import ast
import configparser
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name as canonical
from packaging.version import Version

ROOT = Path(__file__).parents[2]
CONFIG = configparser.ConfigParser(interpolation=None)
CONFIG.read(ROOT / "setup.cfg", encoding="utf-8")
PYTHONS = re.findall(
    r"^Programming Language :: Python :: (3\.\d+)$", CONFIG["metadata"]["classifiers"], re.M
)
OURS = canonical(CONFIG["metadata"]["name"])

BOUNDED = {
    "annotated-doc": "below release 1, where a minor version may change anything",
    "aiohttp": "AppRunner._make_server, Server._loop and _kwargs; writer.output_size",
    "aiohttp-sse": "EventSourceResponse by keywords of release 3",
    "av": "open(metadata_errors=), which release 19 took away; planes and graphs",
    "espeakng-loader": "the C library inside is called through ctypes",
    "faster-whisper": "model.is_multilingual, encode, feature_extractor; keywords of both transcribe",
    "funasr": "what its AutoModel is made of; inference() of its models; options by name",
    "huggingface-hub": "utils.WeakFileLock, build_hf_headers, the session's own stream()",
    "kaldi-native-fbank": "FunASR calls it",
    "modelscope": "snapshot_download(progress_callbacks=), hub.callback",
    "nemo-toolkit": "encoder.layers, decoder.prediction, change_attention_model, featurizer.forward",
    "numpy": "passed on to all of them",
    "nvidia-ml-py": "structures of NVML by field",
    "opentelemetry-exporter-otlp-proto-http": "the exporter's keywords",
    "opentelemetry-sdk": "TracerProvider(shutdown_on_exit=)",
    "pocketsphinx": "Decoder by its settings' names, get_cmn, set_cmn, reinit_feat",
    "prometheus-client": "exposition.CONTENT_TYPE_PLAIN_0_0_4, metrics_core, ProcessCollector",
    "shtab": "the attribute `complete` of argparse's actions",
    "tiktoken": "transformers reads tokenizers with it",
    "torch": "TorchFunctionMode, forward hooks, load(mmap=, weights_only=)",
    "tqdm": "a bar whose n and total are set; monitor_interval",
    "transformers": "from_pretrained(None, state_dict=), output_loading_info, logits_to_keep, NanoChat",
    "uvloop": "new_event_loop; what its transports do beyond asyncio's",
}
"""Libraries that are called by keywords, by private names or by what is inside their objects: what is
used so. They must have an upper bound, or one release of theirs breaks every new installation."""

DOCUMENTED = {"attrs", "cattrs", "packaging", "structlog"}
"""Used by what they document, and they warn for a year before they take it away."""

BROUGHT = {
    "ctranslate2": "faster-whisper",
    "multidict": "aiohttp",
    "safetensors": "transformers",
    "tokenizers": "faster-whisper",
    "yarl": "aiohttp",
}
"""Modules of libraries that another one brings along and bounds."""

MODULES = {
    "attr": "attrs",
    "nemo": "nemo-toolkit",
    "opentelemetry": "opentelemetry-sdk",
    "pynvml": "nvidia-ml-py",
}
"""Modules that are called otherwise than their distribution."""


def asked(told: str) -> list[Requirement]:
    """The requirements of a section, but for extras of our own."""
    found = [Requirement(line) for line in told.splitlines() if line.strip()]
    return [each for each in found if canonical(each.name) != OURS]


BASE = asked(CONFIG["options"]["install_requires"])
EXTRAS = {name: asked(told) for name, told in CONFIG["options.extras_require"].items()}
TOOLS = ("test", "dev")
EVERYWHERE = [*BASE, *(each for extra in EXTRAS.values() for each in extra)]
USED = [*BASE, *(each for name, extra in EXTRAS.items() if name not in TOOLS for each in extra)]


def bounded(requirement: Requirement) -> bool:
    return any(each.operator in ("<", "<=", "==", "~=") for each in requirement.specifier)


def test_what_is_used_by_keyword_or_by_private_name_is_bounded() -> None:
    assert {canonical(each.name) for each in USED} == BOUNDED.keys() | DOCUMENTED
    assert [str(each) for each in USED if canonical(each.name) in BOUNDED and not bounded(each)] == []


def test_the_tools_of_the_tests_are_bounded() -> None:
    """They are called by young keywords and hooks, and one of them by a private name."""
    assert [str(each) for name in TOOLS for each in EXTRAS[name] if not bounded(each)] == []


def test_a_library_is_asked_for_in_one_way() -> None:
    ways: dict[str, set[str]] = {}
    for each in EVERYWHERE:
        ways.setdefault(canonical(each.name), set()).add(str(each.specifier))
    assert {name: specifiers for name, specifiers in ways.items() if len(specifiers) > 1} == {}


def test_what_is_imported_is_asked_for() -> None:
    """A library that only comes along with another one is not bounded by us, and may stop coming."""
    there = {canonical(each.name) for each in USED}
    for name, brings in BROUGHT.items():
        assert brings in there, name
    found = set()
    for path in (ROOT / "aistack").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                found.add(node.module.partition(".")[0])
    theirs = found - set(sys.stdlib_module_names) - {"aistack"} - BROUGHT.keys()
    assert {name for name in theirs if canonical(MODULES.get(name, name)) not in there} == set()


# --- Pythons -----------------------------------------------------------------------------------------


def test_the_pythons_of_the_classifiers_are_those_that_are_admitted() -> None:
    admitted = SpecifierSet(CONFIG["options"]["python_requires"])
    minors = [f"3.{minor}" for minor in range(30)]
    assert [minor for minor in minors if admitted.contains(f"{minor}.1")] == PYTHONS


def test_each_of_them_is_tried_and_told() -> None:
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini", encoding="utf-8")
    minors = ",".join(each.partition(".")[2] for each in PYTHONS)
    assert f"testenv:py3{{{minors}}}" in tox
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"Python {', '.join(PYTHONS[:-1])} or {PYTHONS[-1]}" in readme
    assert ".ci/pythons || failed=1" in (ROOT / ".ci/run").read_text(encoding="utf-8").splitlines()


def test_the_base_tests_leave_out_what_is_there() -> None:
    """A path that is no longer there leaves out nothing, without a word."""
    words = (ROOT / ".ci/base-tests").read_text(encoding="utf-8").splitlines()
    assert words[0] == "tests"
    for word in words[1:]:
        option, _, path = word.partition("=")
        assert option in ("--ignore", "--ignore-glob", "--deselect"), word
        file, _, test = path.partition("::")
        assert list(ROOT.glob(file.removeprefix("*/"))), word
        assert not test or f"def {test.partition('[')[0]}(" in (ROOT / file).read_text(encoding="utf-8")


def test_the_other_pythons_run_the_readmes_command() -> None:
    script = ROOT / ".ci/pythons"
    assert os.access(script, os.X_OK)
    shown = subprocess.run([script, "--show"], capture_output=True, text=True, check=True, timeout=10)
    assert f"```sh\n{shown.stdout}```" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert " -c constraints.txt " in shown.stdout


# --- pins --------------------------------------------------------------------------------------------


def pins(python: str) -> dict[str, Version]:
    """What constraints.txt says to one Python."""
    found: dict[str, Version] = {}
    here = {"python_version": python, "python_full_version": f"{python}.1"}
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            pin = Requirement(line)
            if pin.marker is None or pin.marker.evaluate(here):
                (only,) = pin.specifier
                assert only.operator == "==" and canonical(pin.name) not in found, line
                found[canonical(pin.name)] = Version(only.version)
    return found


@pytest.mark.parametrize("python", PYTHONS)
def test_the_pins_are_versions_that_are_admitted(python: str) -> None:
    pinned = pins(python)
    here = {"python_version": python, "python_full_version": f"{python}.1", "extra": ""}
    wanted = [each for each in EVERYWHERE if each.marker is None or each.marker.evaluate(here)]
    assert [str(each) for each in wanted if canonical(each.name) not in pinned] == []
    assert [
        f"{each}, pinned {pinned[canonical(each.name)]}"
        for each in wanted
        if not each.specifier.contains(pinned[canonical(each.name)], prereleases=True)
    ] == []


@pytest.mark.parametrize("python", PYTHONS)
def test_torchaudio_is_not_pinned(python: str) -> None:
    """Nobody needs it, and beside a CPU build of torch its newest wheel breaks FunASR."""
    assert {"torch", "funasr"} <= pins(python).keys()
    assert "torchaudio" not in pins(python)
