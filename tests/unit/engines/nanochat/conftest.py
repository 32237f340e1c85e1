"""The engine on the real library with tiny weights; not collected where the library is missing."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from aistack.chunks import Generated, GenerationRequest, Message, ModelSpec, Token
from aistack.engines.nanochat.engine import Nanochat
from contrib.dev.tiny_models.nanochat.nanochat_lessons import CHARACTERS

MISSING = [name for name in Nanochat.requires if importlib.util.find_spec(name) is None]
NEEDS_LIBRARY = (
    "test_convert.py",
    "test_detokenize.py",
    "test_directories.py",
    "test_engine.py",
    "test_lane.py",
    "test_prompt.py",
    "test_sampling.py",
    "test_tokenizer.py",
)
collect_ignore = list(NEEDS_LIBRARY) if MISSING else []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.heavy)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if MISSING:
        terminalreporter.write_line(
            f"tests/unit/engines/nanochat: {len(NEEDS_LIBRARY)} files not collected, "
            f"missing: {', '.join(MISSING)}"
        )


ROOT = Path(__file__).parents[3] / "data" / "models" / "tiny-nanochat"

ADA, BO = CHARACTERS["tiny-ada"], CHARACTERS["tiny-bo"]
COUNT = "Count to sixty."


def ask(question: str, **how: Any) -> GenerationRequest:
    """A greedy request of one user message."""
    settings: dict[str, Any] = {"temperature": 0.0, "top_k": 50, "max_tokens": 512} | how
    return GenerationRequest((Message("user", question),), **settings)


def loaded(path: Path, tag: str = "", slot: int = 0, **options: Any) -> Nanochat:
    """An engine with these weights."""
    engine = Nanochat()
    spec = ModelSpec(tag or path.name, str(path), "cpu", {"threads": 1} | options, slot)
    engine.load(spec, lambda progress: None)
    return engine


def answer(
    engine: Nanochat, request: GenerationRequest, cancel: threading.Event | None = None
) -> tuple[list[Token], Generated]:
    """The token chunks of a run, and its result."""
    run = engine.run(request, cancel or threading.Event())
    tokens: list[Token] = []
    while True:
        try:
            item = next(run)
        except StopIteration as stop:
            return tokens, stop.value
        if isinstance(item, Token):
            tokens.append(item)


def text(engine: Nanochat, request: GenerationRequest) -> str:
    return "".join(token.text for token in answer(engine, request)[0])


@pytest.fixture(scope="session")
def ada() -> Nanochat:
    return loaded(ROOT / "tiny-ada")


@pytest.fixture(scope="session")
def tag() -> Iterator[Callable[[str], Nanochat]]:
    """Engines by tag, loaded once."""
    engines: dict[str, Nanochat] = {}

    def get(name: str) -> Nanochat:
        if name not in engines:
            engines[name] = loaded(ROOT / name)
        return engines[name]

    yield get
