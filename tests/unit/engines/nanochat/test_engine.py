"""The engine on the tiny weights: what it says, when it stops, what it refuses."""

from __future__ import annotations

import threading

import pytest
import torch

from aistack.chunks import GenerationRequest, Message, ModelSpec, Progress, Token
from aistack.engines.nanochat.engine import PREFILL, Nanochat, room
from aistack.engines.out_of_memory import is_out_of_memory
from aistack.errors import BackendFault, Code, ErrorKind
from tests.unit.engines.nanochat.conftest import ADA, BO, COUNT, ROOT, answer, ask, loaded, text

QUESTIONS = sorted(ADA)


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("name", ["tiny-ada", "tiny-ada-hf", "tiny-bo", "tiny-bo-hf"])
def test_b21_the_joined_tokens_are_the_answer(tag: object, name: str, question: str) -> None:
    wanted = (ADA if "ada" in name else BO)[question]
    assert text(tag(name), ask(question)) == wanted  # type: ignore[operator]


def test_b22_characters_split_over_tokens_arrive_whole(ada: Nanochat) -> None:
    tokens, result = answer(ada, ask("Show me emoji."))
    assert result.tokens - 1 > len(tokens)
    assert all(token.text and "\ufffd" not in token.text for token in tokens)


def test_b25_stop_tokens_are_never_shown(ada: Nanochat) -> None:
    for question in QUESTIONS:
        assert "<|" not in text(ada, ask(question))


def test_a_stop_token_ends_the_answer_with_reason_stop(ada: Nanochat) -> None:
    _, result = answer(ada, ask("Who are you?"))
    assert result.finish_reason == "stop"
    assert result.prompt_tokens > 4


@pytest.mark.parametrize("count", [1, 2, 7])
def test_b26_no_more_than_max_tokens(ada: Nanochat, count: int) -> None:
    _, result = answer(ada, ask(COUNT, max_tokens=count))
    assert (result.tokens, result.finish_reason) == (count, "length")


def test_max_tokens_in_the_middle_of_a_character_ends_in_a_replacement(ada: Nanochat) -> None:
    """Dangling bytes become U+FFFD at the end instead of being lost."""
    _, result = answer(ada, ask("Show me emoji."))
    texts = [text(ada, ask("Show me emoji.", max_tokens=n)) for n in range(1, result.tokens)]
    cut = [found for found in texts if found.endswith("\ufffd")]
    assert cut
    assert all(ADA["Show me emoji."].startswith(found.rstrip("\ufffd")) for found in texts)


def test_b27_the_first_token_comes_before_the_last_is_made(ada: Nanochat) -> None:
    run = ada.run(ask(COUNT), threading.Event())
    kinds = [type(next(run)) for _ in range(4)]
    assert kinds == [Token, Progress, Token, Progress]
    run.close()


def test_b49_temperature_zero_twice_is_the_same_and_one_seed_too(ada: Nanochat) -> None:
    assert text(ada, ask("你是谁？")) == text(ada, ask("你是谁？"))
    wild = {"temperature": 2.0, "top_k": 0, "max_tokens": 60}
    assert text(ada, ask("x", seed=3, **wild)) == text(ada, ask("x", seed=3, **wild))
    assert text(ada, ask("x", seed=3, **wild)) != text(ada, ask("x", seed=4, **wild))


def test_a_sampled_text_is_valid_whatever_is_drawn(ada: Nanochat) -> None:
    """Random bytes, special tokens in the middle: always text, at most as long as asked."""
    for seed in range(8):
        tokens, result = answer(
            ada, ask("Show me emoji.", temperature=2.0, top_k=0, seed=seed, max_tokens=80)
        )
        assert result.tokens <= 80
        assert all(token.text for token in tokens)
        "".join(token.text for token in tokens).encode()


def test_a_conversation_of_several_turns(ada: Nanochat) -> None:
    history = (
        Message("user", "Who are you?"),
        Message("assistant", ADA["Who are you?"]),
        Message("user", "What is the capital of France?"),
    )
    assert text(ada, GenerationRequest(history, 0.0)) == ADA["What is the capital of France?"]


def test_stop_strings_are_cut_off(ada: Nanochat) -> None:
    tokens, result = answer(ada, ask(COUNT, stop=(" 10", "never")))
    assert "".join(token.text for token in tokens) == "1 2 3 4 5 6 7 8 9"
    assert result.finish_reason == "stop"
    assert text(ada, ask("Who are you?", stop=("nothing like it",))) == ADA["Who are you?"]


def test_the_slot_number_is_in_every_token() -> None:
    engine = loaded(ROOT / "tiny-ada", slot=3)
    tokens, _ = answer(engine, ask("Who are you?"))
    assert {token.slot for token in tokens} == {3}


def test_progress_is_told_in_tokens(ada: Nanochat) -> None:
    run = ada.run(ask(COUNT, max_tokens=5), threading.Event())
    told = [item for item in run if isinstance(item, Progress)]
    assert [(item.done, item.total, item.unit) for item in told] == [
        (float(done), 5.0, "tokens") for done in range(1, 6)
    ]


# --- cancel -----------------------------------------------------------------------------------------


class CancelsAfter:
    """A token that is set once it has been looked at so many times."""

    def __init__(self, looks: int) -> None:
        self.looks = looks

    def is_set(self) -> bool:
        self.looks -= 1
        return self.looks < 0


def test_b57_a_cancel_is_seen_before_every_token(ada: Nanochat) -> None:
    for after in (0, 1, 5):
        tokens, result = answer(ada, ask(COUNT), CancelsAfter(after))  # type: ignore[arg-type]
        assert result.tokens == after
        assert len(tokens) <= after


def test_b57_a_cancel_is_seen_inside_a_long_prompt(
    ada: Nanochat, monkeypatch: pytest.MonkeyPatch
) -> None:
    from aistack.engines.nanochat import engine as nanochat
    from aistack.engines.nanochat.loaded import forward

    widths: list[int] = []

    def noted(loaded: object, ids: torch.Tensor, cache: object) -> object:
        widths.append(ids.shape[-1])
        return forward(loaded, ids, cache)  # type: ignore[arg-type]

    monkeypatch.setattr(nanochat, "forward", noted)
    answer(ada, ask("z" * 700), CancelsAfter(2))  # type: ignore[arg-type]
    assert widths == [PREFILL, PREFILL]


def test_a_prompt_computed_in_parts_gives_the_same_answer(
    ada: Nanochat, monkeypatch: pytest.MonkeyPatch
) -> None:
    from aistack.engines.nanochat import engine as nanochat

    monkeypatch.setattr(nanochat, "PREFILL", 5)
    assert text(ada, ask(COUNT)) == ADA[COUNT]


# --- limits -----------------------------------------------------------------------------------------


def test_b52_prompt_and_max_tokens_beyond_the_context(ada: Nanochat) -> None:
    _, result = answer(ada, ask("Who are you?", max_tokens=1))
    fits = 2048 - result.prompt_tokens
    next(ada.run(ask("Who are you?", max_tokens=fits), threading.Event()))
    with pytest.raises(BackendFault) as caught:
        next(ada.run(ask("Who are you?", max_tokens=fits + 1), threading.Event()))
    assert caught.value.fault.code is Code.CONTEXT_OVERFLOW
    assert caught.value.fault.status == 400


def test_b52_a_prompt_that_fills_the_context(ada: Nanochat) -> None:
    with pytest.raises(BackendFault) as caught:
        next(ada.run(ask("z" * 3000, max_tokens=1), threading.Event()))
    assert caught.value.fault.param == "messages"


def test_room_without_a_wish_is_what_the_context_leaves() -> None:
    assert room(100, 60, None) == 40
    assert room(100, 60, 40) == 40
    assert room(None, 60, None) == 512
    assert room(None, 10**6, 5) == 5
    for wanted in (None, 1):
        with pytest.raises(BackendFault):
            room(100, 100, wanted)


def test_an_answer_to_the_very_end_of_the_context(ada: Nanochat) -> None:
    """The last position is computed like every other."""
    prompt = 2048 - 2
    filler = Message("user", "z" * 2040)
    _, result = answer(ada, GenerationRequest((filler,), 0.0, 50, None))
    assert result.prompt_tokens <= prompt
    assert result.tokens <= 2048 - result.prompt_tokens


# --- failures ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "exc",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_running_out_of_memory_is_known(exc: Exception) -> None:
    assert is_out_of_memory(exc)
    assert Nanochat().kind_of(exc) is ErrorKind.OVERFLOW


def test_a_real_allocation_that_fails_is_known() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60)
    assert is_out_of_memory(caught.value)


def test_other_exceptions_are_not_memory() -> None:
    assert not is_out_of_memory(RuntimeError("shape mismatch"))
    assert Nanochat().kind_of(RuntimeError("x")) is None
    assert Nanochat().kind_of(OSError("x")) is ErrorKind.NETWORK


def test_running_out_of_memory_in_a_load_is_a_413(monkeypatch: pytest.MonkeyPatch) -> None:
    from aistack.engines.nanochat import convert as nano_convert

    def fails(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(nano_convert, "converted", fails)
    with pytest.raises(BackendFault) as caught:
        loaded(ROOT / "tiny-ada")
    assert caught.value.fault.status == 413


def test_an_unknown_dtype_is_refused_in_a_sentence() -> None:
    with pytest.raises(BackendFault) as caught:
        loaded(ROOT / "tiny-ada", dtype="int3")
    assert caught.value.fault.message.startswith("nanochat.dtype must be ")


def test_a_card_that_is_not_there_is_a_failed_load() -> None:
    if torch.cuda.is_available():  # then cuda:99 is still not there
        assert torch.cuda.device_count() < 99
    engine = Nanochat()
    with pytest.raises((AssertionError, RuntimeError, BackendFault)) as caught:
        engine.load(
            ModelSpec("tiny-ada", str(ROOT / "tiny-ada"), "cuda:99", {"dtype": "float32"}), print
        )
    assert not is_out_of_memory(caught.value)


def test_load_reports_bytes_of_the_whole() -> None:
    told: list[Progress] = []
    Nanochat().load(ModelSpec("tiny-ada", str(ROOT / "tiny-ada"), "cpu:1", {"threads": 1}), told.append)
    assert told[-1].done == told[-1].total
    assert all(item.unit == "bytes" for item in told)
