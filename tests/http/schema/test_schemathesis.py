"""schemathesis against the live service, with the reference and with seed 004's own file.

The numbers of cases are bounded here; `tox -e schema` runs more of them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from aistack.web.operations import EVERY
from tests.http.gateway.service import Service
from tests.http.schema.run import SETTINGS, Ran, schemathesis
from tests.http.schema.served import served
from tests.support.listening import ROOT

pytestmark = pytest.mark.timeout(1200)
SEED = ROOT / "tests" / "data" / "inference-api.yaml"
EXAMPLES = os.environ.get("AISTACK_SCHEMA_EXAMPLES", "15")
"""Cases that are made up for each operation, beside those that follow from its schema."""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.setenv("HF_HUB_OFFLINE", "1")
        with served(tmp_path_factory.mktemp("schema")) as service:
            yield service


def clean(ran: Ran, operations: int, least: int, capsys: pytest.CaptureFixture[str]) -> None:
    """No failure, every operation, and not because there was nothing to do."""
    with capsys.disabled():
        sys.stdout.write(
            f"\nschemathesis: {ran.cases} cases, {ran.operations} operations, {ran.clean=}\n"
        )
    assert ran.clean, ran.text
    assert ran.operations == operations
    assert ran.cases >= least


def test_all_checks_pass_on_the_served_document(
    service: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"http://127.0.0.1:{service.port}/openapi.json"
    ran = schemathesis(url, "--phases", "examples,coverage,fuzzing", "--max-examples", EXAMPLES)
    # It leaves out the operation that it has the document from; tests/openapi looks at that.
    clean(ran, sum(each.shown for each in EVERY) - 1, 500, capsys)
    service.quiet()
    assert service.spooled == []


def test_the_seeds_own_file(service: Service, capsys: pytest.CaptureFixture[str]) -> None:
    ran = schemathesis(
        str(SEED),
        *("--url", f"http://127.0.0.1:{service.port}"),
        *("--phases", "examples,coverage,fuzzing", "--max-examples", EXAMPLES),
        settings=SETTINGS.with_name("seed.toml"),
    )
    clean(ran, 5, 100, capsys)
    service.quiet()


def test_a_service_that_breaks_its_word_is_found(service: Service, tmp_path: Path) -> None:
    """The checks are on: a document that tells something else fails."""
    lies = SEED.read_text(encoding="utf-8").replace("- status\n", "- state\n", 1)
    assert "- state\n" in lies
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(lies, encoding="utf-8")
    ran = schemathesis(
        str(wrong),
        *("--url", f"http://127.0.0.1:{service.port}", "--include-path", "/health"),
        *("--phases", "coverage,fuzzing", "--max-examples", "5"),
        settings=SETTINGS.with_name("seed.toml"),
    )
    assert not ran.clean
    assert "Response violates schema" in ran.text
