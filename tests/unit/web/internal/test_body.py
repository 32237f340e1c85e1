"""Bodies of /generate, /models/swap and the OpenAI door: what is refused, and what first. Pure."""

from __future__ import annotations

from typing import Any

import pytest

from aistack.chunks import GenerationRequest, Message
from aistack.errors import BackendFault, Code
from aistack.web.internal.body import Defaults, chat_request, generate_request, swap_tag

HI = [{"role": "user", "content": "hi"}]


def read(**fields: Any) -> GenerationRequest:
    return generate_request({"messages": HI} | fields, Defaults())


def refused(body: dict[str, Any]) -> tuple[str | None, str]:
    with pytest.raises(BackendFault) as caught:
        generate_request(body, Defaults())
    fault = caught.value.fault
    assert fault.status == 400
    return fault.param, fault.message


def test_b47_b48_defaults_for_absent_and_null() -> None:
    wanted = GenerationRequest((Message("user", "hi"),), 0.8, 50, 512)
    assert read() == wanted
    assert read(temperature=None, top_k=None, max_tokens=None) == wanted
    other = generate_request({"messages": HI}, Defaults(0.1, 2, 3))
    assert (other.temperature, other.top_k, other.max_tokens) == (0.1, 2, 3)


def test_b99_the_four_keys_of_the_seeds_consumer() -> None:
    found = read(temperature=0.8, top_k=50, max_tokens=512)
    assert found == read()


@pytest.mark.parametrize(
    "messages", [None, "hi", {}, [1], [None], [{}], [{"role": "user"}], [{"content": "x"}]]
)
def test_b28_b29_messages_of_another_shape(messages: Any) -> None:
    param, _ = refused({"messages": messages})
    assert param is not None
    assert param.startswith("messages")


def test_b28_an_empty_object() -> None:
    assert refused({})[0] == "messages"


@pytest.mark.parametrize("value", [None, 1, 1.5, True, [], {}])
def test_b30_content_and_role_must_be_strings(value: Any) -> None:
    assert refused({"messages": [{"role": "user", "content": value}]})[0] == "messages.0.content"
    assert refused({"messages": [{"role": value, "content": "x"}]})[0] == "messages.0.role"


def test_b32_b33_unknown_fields_unless_tolerated() -> None:
    assert refused({"messages": HI, "force_web_search": False})[0] == "force_web_search"
    named = [HI[0] | {"name": "x"}]
    assert refused({"messages": named})[0] == "messages.0.name"
    body = {"messages": named, "force_web_search": True}
    assert generate_request(body, Defaults(), tolerant=True) == read()


def test_b34_b35_number_of_messages() -> None:
    assert refused({"messages": []})[0] == "messages"
    assert len(read(messages=HI * 500).messages) == 500
    assert refused({"messages": HI * 501})[0] == "messages"


def test_b36_b37_b39_length_of_a_message_in_characters() -> None:
    def message(text: str) -> list[dict[str, str]]:
        return [*HI, {"role": "assistant", "content": text}]

    param, sentence = refused({"messages": message("")})
    assert (param, "1" in sentence) == ("messages.1.content", True)
    assert read(messages=message(" ")).messages[1].content == " "
    assert len(read(messages=message("🦉" * 8000)).messages[1].content) == 8000
    assert refused({"messages": message("x" * 8001)})[0] == "messages.1.content"


def test_b38_length_of_all_together() -> None:
    def messages(last: int) -> list[dict[str, str]]:
        return [{"role": "user", "content": "x" * size} for size in (8000, 8000, 8000, last)]

    assert len(read(messages=messages(8000)).messages) == 4
    assert refused({"messages": [*messages(8000), *HI]})[0] == "messages"


@pytest.mark.parametrize("role", ["system", "tool", "User", "", "developer"])
def test_b40_other_roles(role: str) -> None:
    assert refused({"messages": [{"role": role, "content": "x"}]})[0] == "messages.0.role"


@pytest.mark.parametrize("value", [0, 0.0, 2, 2.0, 1e-9])
def test_b42_temperatures(value: Any) -> None:
    assert read(temperature=value).temperature == value


@pytest.mark.parametrize("value", [-0.1, 2.1, float("nan"), float("inf"), "1", True, [], 10**400])
def test_b42_b43_temperatures_that_are_none(value: Any) -> None:
    assert refused({"messages": HI, "temperature": value})[0] == "temperature"


@pytest.mark.parametrize(("name", "least", "most"), [("top_k", 0, 200), ("max_tokens", 1, 4096)])
def test_b44_b45_b46_whole_numbers(name: str, least: int, most: int) -> None:
    for good in (least, most, float(most)):
        found = getattr(read(**{name: good}), name)
        assert found == good
        assert type(found) is int
    for bad in (least - 1, most + 1, 1.5, "5", True, float("nan"), float("inf"), [1]):
        assert refused({"messages": HI, name: bad})[0] == name


def test_the_order_of_refusals() -> None:
    """Schema of messages, their limits in order, their sum, temperature, top_k, max_tokens."""
    bad: dict[str, Any] = {"temperature": 9, "top_k": 999, "max_tokens": 0}
    for name in ("temperature", "top_k", "max_tokens"):
        assert refused({"messages": HI} | bad)[0] == name
        del bad[name]
    two = [{"role": "user", "content": ""}, {"role": "robot", "content": "x"}]
    assert refused({"messages": two, "temperature": 9})[0] == "messages.0.content"


def test_b68_b69_the_body_of_a_swap() -> None:
    assert swap_tag({"model_tag": "a", "extra": 1}) == "a"
    for body in ({}, {"model_tag": None}, {"model_tag": 1}, {"model_tag": ["a"]}):
        with pytest.raises(BackendFault) as caught:
            swap_tag(body)
        assert caught.value.fault.status == 400


# --- the OpenAI door --------------------------------------------------------------------------------


def test_a_chat_completion_with_everything() -> None:
    asked = chat_request(
        {
            "model": "x",
            "messages": [
                {"role": "developer", "content": "Be kind."},
                {"role": "user", "content": [{"type": "text", "text": "a"}, {"text": "b"}]},
            ],
            "temperature": 0,
            "top_k": 3,
            "max_completion_tokens": 7,
            "max_tokens": 9,
            "stop": "END",
            "seed": 5,
            "stream": True,
            "stream_options": {"include_usage": True},
            "logit_bias": {},
        },
        Defaults(),
    )
    messages = (Message("system", "Be kind."), Message("user", "ab"))
    assert asked.request == GenerationRequest(messages, 0.0, 3, 7, ("END",), 5)
    assert (asked.stream, asked.usage) == (True, True)


def test_a_chat_completion_with_nothing_is_bounded_by_the_context_alone() -> None:
    asked = chat_request({"messages": HI}, Defaults())
    assert asked.request.max_tokens is None
    assert (asked.stream, asked.usage) == (False, False)


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("messages", [], Code.INVALID_FIELD),
        ("messages", [{"role": "tool", "content": "x"}], Code.INVALID_FIELD),
        ("messages", [{"role": "user", "content": [{"type": "image_url"}]}], Code.INVALID_FIELD),
        ("stop", 5, Code.INVALID_FIELD),
        ("stop", ["a"] * 5, Code.INVALID_FIELD),
        ("seed", "x", Code.INVALID_FIELD),
        ("max_tokens", 0, Code.INVALID_FIELD),
        ("temperature", 2.5, Code.INVALID_FIELD),
    ],
)
def test_chat_bodies_that_are_refused(field: str, value: Any, code: Code) -> None:
    with pytest.raises(BackendFault) as caught:
        chat_request({"messages": HI, field: value}, Defaults())
    assert caught.value.fault.code is code
