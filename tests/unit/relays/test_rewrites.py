"""The translations of a speech body (rows 36-41): each does its one thing and can be switched off."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

import attrs
import pytest

from aistack.contract.relay_request import relay_request
from aistack.relays.rewrites import Rewrites, data_url
from tests.doubles.vllm_omni import HF_NAME, VllmOmni
from tests.unit.relays.conftest import TTS_ID, World

SPEECH = "/v1/audio/speech"
OFF = Rewrites(model=False, task_type=False, voice=False, ref_audio=False)


def configure(world: World, **rules: Any) -> None:
    changed = attrs.evolve(world.tts.settings.rewrites, **rules)
    world.tts.settings = attrs.evolve(world.tts.settings, rewrites=changed)


async def say(world: World, omni: VllmOmni, **members: Any) -> tuple[int, dict[str, Any]]:
    """Status, and the body the upstream got."""
    data = json.dumps({"input": "Hello."} | members).encode()
    reply = await world.ask(world.speak(relay_request("POST", SPEECH, data, "application/json")))
    return reply.status, omni.called(SPEECH)[-1].json


@pytest.mark.parametrize("name", [TTS_ID, TTS_ID.upper(), "tts-1", "tts-1-hd", "gpt-4o-mini-tts"])
async def test_a171_our_name_becomes_the_served_one(world: World, omni: VllmOmni, name: str) -> None:
    status, sent = await say(world, omni, model=name)
    assert (status, sent["model"]) == (200, HF_NAME)


async def test_a171_a_name_that_is_served_stays(world: World, omni: VllmOmni) -> None:
    omni.served = [HF_NAME, TTS_ID]
    assert await say(world, omni, model=TTS_ID) == (200, {"input": "Hello.", "model": TTS_ID})
    assert (await say(world, omni, model=HF_NAME))[1]["model"] == HF_NAME


async def test_a171_the_name_is_dropped_if_the_upstream_does_not_say(
    world: World, omni: VllmOmni
) -> None:
    omni.fail("/v1/models", "status", status=500)
    assert await say(world, omni, model=TTS_ID) == (200, {"input": "Hello."})


async def test_an_unknown_name_is_the_upstreams_to_refuse(world: World, omni: VllmOmni) -> None:
    data = json.dumps({"input": "x", "model": "tts-9"}).encode()
    reply = await world.ask(world.speak(relay_request("POST", SPEECH, data, "application/json")))
    assert (reply.status, reply.error["code"]) == (400, "model_not_found")
    assert omni.called(SPEECH)[-1].body == data


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("voice_clone", "Base"),
        ("voice_design", "VoiceDesign"),
        ("custom_voice", "CustomVoice"),
        ("CustomVoice", "CustomVoice"),
    ],
)
async def test_task_names(world: World, omni: VllmOmni, ours: str, theirs: str) -> None:
    omni.checkpoint = theirs
    status, sent = await say(world, omni, task_type=ours)
    assert (status, sent["task_type"]) == (200, theirs)


async def test_other_task_names_are_not_touched(world: World, omni: VllmOmni) -> None:
    assert await say(world, omni, task_type="Voice_Clone") == (
        400,
        {"input": "Hello.", "task_type": "Voice_Clone"},
    )


@pytest.mark.parametrize("voice", ["alloy", "Alloy", "cedar", {"id": "nova"}])
async def test_openais_voices_get_a_preset(world: World, omni: VllmOmni, voice: Any) -> None:
    assert (await say(world, omni, voice=voice)) == (200, {"input": "Hello.", "voice": "aiden"})
    configure(world, preset="vivian")
    assert (await say(world, omni, voice=voice))[1]["voice"] == "vivian"


async def test_a_voice_the_upstream_has_stays(world: World, omni: VllmOmni) -> None:
    omni.uploaded["nova"] = {"name": "nova"}
    assert (await say(world, omni, voice="nova"))[1]["voice"] == "nova"
    omni.version = (0, 22)
    assert (await say(world, omni, voice={"id": "vivian"})) == (
        200,
        {"input": "Hello.", "voice": "vivian"},
    )
    status, sent = await say(world, omni, voice="nobody")
    assert (status, sent["voice"]) == (400, "nobody")


async def test_voices_in_a_batch(world: World, omni: VllmOmni) -> None:
    items = [{"input": "a", "voice": "alloy"}, {"input": "b", "voice": "ryan"}, 7, {"input": "c"}]
    data = json.dumps({"items": items[:2] + items[3:], "model": "tts-1", "voice": "echo"}).encode()
    path = SPEECH + "/batch"
    reply = await world.ask(world.speak(relay_request("POST", path, data, "application/json")))
    assert reply.status == 200
    sent = omni.called(path)[-1].json
    assert [item.get("voice") for item in sent["items"]] == ["aiden", "ryan", None]
    assert (sent["voice"], sent["model"]) == ("aiden", HF_NAME)


async def test_reference_audio_below_the_folder_becomes_a_data_url(
    world: World, omni: VllmOmni, tmp_path: Path
) -> None:
    folder = tmp_path / "voices"
    folder.mkdir()
    (folder / "me.wav").write_bytes(b"RIFF....")
    configure(world, ref_folder=str(folder))
    omni.checkpoint = "Base"
    for name in ("me.wav", str(folder / "me.wav"), "./me.wav"):
        status, sent = await say(world, omni, task_type="voice_clone", ref_audio=name, ref_text="t")
        kind, _, data = sent["ref_audio"].partition(";base64,")
        assert status == 200 and kind in ("data:audio/x-wav", "data:audio/wav")
        assert base64.b64decode(data) == b"RIFF...."


async def test_reference_audio_elsewhere_is_the_upstreams_to_refuse(
    world: World, omni: VllmOmni, tmp_path: Path
) -> None:
    folder = tmp_path / "voices"
    folder.mkdir()
    secret = tmp_path / "secret.wav"
    secret.write_bytes(b"secret")
    os.symlink(secret, folder / "link.wav")
    configure(world, ref_folder=str(folder))
    omni.checkpoint = "Base"
    for name in ("../secret.wav", str(secret), "link.wav", "none.wav", ".", "a\0b", "~/x"):
        status, sent = await say(world, omni, ref_audio=name)
        assert (status, sent["ref_audio"]) == (400, name)
    for name in ("https://x/y.wav", "data:audio/wav;base64,AA=="):
        assert (await say(world, omni, ref_audio=name))[1]["ref_audio"] == name


def test_a_reference_that_is_too_long_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.wav").write_bytes(b"12345678")
    assert data_url("a.wav", str(tmp_path)) is not None
    monkeypatch.setattr("aistack.relays.rewrites.REFERENCE_BYTES", 7)
    assert data_url("a.wav", str(tmp_path)) is None


async def test_default_format_only_if_configured(world: World, omni: VllmOmni) -> None:
    assert "response_format" not in (await say(world, omni))[1]
    configure(world, default_format="mp3")
    assert (await say(world, omni))[1]["response_format"] == "mp3"
    assert (await say(world, omni, response_format="flac"))[1]["response_format"] == "flac"
    for members in ({"stream": True}, {"stream_format": "sse"}):
        assert "response_format" not in (await say(world, omni, **members))[1]


async def test_stream_format_only_if_configured(world: World, omni: VllmOmni) -> None:
    livekit = {"response_format": "mp3", "stream_format": "sse", "voice": "ash", "model": "tts-1"}
    assert (await say(world, omni, **livekit))[0] == 400
    configure(world, stream_format=True)
    status, sent = await say(world, omni, **livekit)
    assert status == 200 and "stream_format" not in sent
    pcm = {"response_format": "pcm", "stream_format": "sse"}
    assert (await say(world, omni, **pcm))[1]["stream_format"] == "sse"
    omni.version = (0, 22)
    before = len(omni.called(SPEECH))
    status, sent = await say(world, omni, **pcm)
    assert (status, "stream_format" in sent) == (200, False)
    assert len(omni.called(SPEECH)) == before + 2, "refused once, then plain audio"


async def test_each_can_be_switched_off(world: World, omni: VllmOmni, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"x")
    world.tts.settings = attrs.evolve(
        world.tts.settings, rewrites=attrs.evolve(OFF, ref_folder=str(tmp_path))
    )
    members = {"model": TTS_ID, "voice": "alloy", "task_type": "voice_clone", "ref_audio": "a.wav"}
    data = json.dumps({"input": "x"} | members).encode()
    reply = await world.ask(world.speak(relay_request("POST", SPEECH, data, "application/json")))
    assert reply.status == 400
    assert omni.called(SPEECH)[-1].body == data
    assert not omni.called("/v1/models") and not omni.called("/v1/audio/voices")


async def test_the_clients_of_the_field_are_served(world: World, omni: VllmOmni) -> None:
    """The guide's example, openai-python's, the AI SDK's and Open WebUI's bodies."""
    for members in (
        {"model": TTS_ID, "voice": "alloy", "response_format": "wav"},
        {"model": "tts-1", "voice": "coral", "response_format": "mp3", "speed": 1.0},
        {"model": "gpt-4o-mini-tts", "voice": "alloy", "response_format": "opus", "instructions": "x"},
        {"model": "tts-1", "voice": "shimmer"},
    ):
        for version in ((0, 18), (0, 22), (0, 30)):
            omni.version = version
            assert (await say(world, omni, **members))[0] == 200
