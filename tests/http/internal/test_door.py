"""`inference.openai_door`: the current weights in /v1/models and at /v1/chat/completions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openai import APIStatusError, OpenAI

from tests.http.gateway.service import Gates, Service
from tests.http.internal.talk import ADA, AUTH, BO, COUNT, WHO, begin, serving, swapped, text_of


@pytest.fixture(scope="module")
def door_(environment: Path) -> Iterator[Service]:
    away = {"url": "http://127.0.0.1:9"}
    sections: dict[str, Any] = {"ollama": away, "qwen_tts": away, "relays": True}
    with serving(environment / "door", inference={"openai_door": True}, **sections) as service:
        yield service


@pytest.fixture
def door(door_: Service) -> Iterator[OpenAI]:
    with OpenAI(
        base_url=f"http://127.0.0.1:{door_.port}/v1",
        api_key="none",
        max_retries=0,
        timeout=60,
    ) as client:
        yield client
    door_.quiet()


def ids(client: OpenAI) -> list[str]:
    return [model.id for model in client.models.list()]


def turn(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


def test_the_current_weights_chat_through_the_official_client(door: OpenAI, door_: Service) -> None:
    assert "tiny-ada" in ids(door)
    assert "tiny-bo" not in ids(door)
    whole = door.chat.completions.create(
        model="tiny-ada", messages=turn(WHO), temperature=0, max_tokens=100
    )
    assert whole.choices[0].message.content == ADA[WHO]
    assert whole.choices[0].finish_reason == "stop"
    assert whole.usage is not None
    assert whole.usage.completion_tokens > 1
    chunks = list(
        door.chat.completions.create(
            model="tiny-ada",
            messages=turn(COUNT),
            temperature=0,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == ADA[COUNT]
    assert chunks[-1].usage is not None
    cut = door.chat.completions.create(
        model="tiny-ada", messages=turn(COUNT), temperature=0, stop=["10"]
    )
    assert cut.choices[0].message.content == ADA[COUNT].partition("10")[0]


def test_a_swap_changes_what_the_door_shows(door: OpenAI, door_: Service) -> None:
    assert swapped(door_, "tiny-bo")["status"] == "ok"
    try:
        assert "tiny-bo" in ids(door)
        answer = door.chat.completions.create(model="tiny-bo", messages=turn(WHO), temperature=0)
        assert answer.choices[0].message.content == BO[WHO]
        with pytest.raises(APIStatusError) as caught:
            door.chat.completions.create(model="tiny-ada", messages=turn(WHO))
        assert caught.value.response.json()["error"]["code"] == "backend_unreachable", "Ollama's"
    finally:
        assert swapped(door_, "tiny-ada")["status"] == "ok"


def test_a_busy_slot_is_an_immediate_503_at_the_door(door: OpenAI, door_: Service, gates: Gates) -> None:
    stream = begin(door_, "@gate:door", COUNT)
    let_pass = gates.entered("door")
    with pytest.raises(APIStatusError) as caught:
        door.chat.completions.create(model="tiny-ada", messages=turn(WHO))
    assert caught.value.status_code == 503
    assert caught.value.response.json()["error"]["code"] == "slot_busy"
    assert caught.value.response.headers["retry-after"] == "5"
    let_pass()
    assert text_of(stream.answer()) == ADA[COUNT]


def test_the_door_is_shut_by_default(service: Service) -> None:
    listed = service.client.get("/v1/models", AUTH).json["data"]
    assert not any(entry["id"].startswith("tiny-") for entry in listed)
