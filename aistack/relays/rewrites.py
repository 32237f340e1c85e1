"""The few translations of a speech body: names that clients use and the upstream does not know.

Each can be switched off; whatever none of them touches goes up byte by byte. Reading a reference
file is the only I/O, and it happens below one allowed folder.
"""

from __future__ import annotations

import base64
import mimetypes
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import field, frozen

from aistack.contract.speech import OPENAI_SPEECH_MODELS, OPENAI_VOICES

TASKS: Mapping[str, str] = {
    "voice_clone": "Base",
    "voice_design": "VoiceDesign",
    "custom_voice": "CustomVoice",
}
"""The contract's task names, and what the upstream calls them."""

SCHEMES = ("http://", "https://", "data:", "file://")
REFERENCE_BYTES = 16 * 1024 * 1024
"""A longer reference file is not read: the upstream takes 30 s of audio at most."""
STREAMABLE = ("pcm", "wav")

DROP: Any = object()
"""Of a member that is to be left out."""


@frozen
class Rewrites:
    """Which translations are on.

    `preset`: the voice that stands in for OpenAI's (empty: the first one the upstream lists).
    `ref_folder`: local reference audio is read below it only (empty: no file is read).
    `default_format`: inserted where the client named none and does not stream (empty: off).
    """

    model: bool = True
    task_type: bool = True
    voice: bool = True
    ref_audio: bool = True
    preset: str = ""
    ref_folder: str = ""
    default_format: str = ""
    stream_format: bool = False
    aliases: tuple[str, ...] = field(default=OPENAI_SPEECH_MODELS)


@frozen
class SpeechFacts:
    """What the upstream says about itself; empty where it was not asked or did not answer."""

    served: tuple[str, ...] = ()
    voices: tuple[str, ...] = ()


def wants_model(body: Mapping[str, Any], rules: Rewrites, advertised: str) -> bool:
    """Whether `model` is one of our names, so that the upstream's own has to be known."""
    model = body.get("model")
    return (
        rules.model
        and isinstance(model, str)
        and (model.lower() == advertised.lower() or model in rules.aliases)
    )


def wants_voices(body: Mapping[str, Any], rules: Rewrites) -> bool:
    """Whether a voice is one of OpenAI's, so that the upstream's list has to be known."""
    return rules.voice and any(
        named_voice(level).lower() in OPENAI_VOICES for level in (body, *items_of(body))
    )


def items_of(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The items of a batch; empty for a single call."""
    items = body.get("items")
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def named_voice(body: Mapping[str, Any]) -> str:
    """The voice as a name, whichever form it came in; empty if there is none."""
    voice = body.get("voice")
    if isinstance(voice, dict):
        voice = voice.get("id")
    return voice if isinstance(voice, str) else ""


def rewritten(
    body: Mapping[str, Any], rules: Rewrites, facts: SpeechFacts, advertised: str
) -> dict[str, Any] | None:
    """The body to send instead; None if nothing changes. Reads files: call it in a thread."""
    changes = _level(body, rules, facts)
    if wants_model(body, rules, advertised) and body["model"] not in facts.served:
        changes["model"] = facts.served[0] if facts.served else DROP
    if _takes_default_format(body, rules):
        changes["response_format"] = rules.default_format
    if rules.stream_format and "stream_format" in body and not _may_stream(body):
        changes["stream_format"] = DROP
    items = body.get("items")
    if isinstance(items, list):
        new = [_item(item, rules, facts) for item in items]
        if new != items:
            changes["items"] = new
    return applied(body, changes) if changes else None


def applied(body: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The same object with `changes`, in the same order."""
    return {key: value for key, value in {**body, **changes}.items() if value is not DROP}


def _item(item: Any, rules: Rewrites, facts: SpeechFacts) -> Any:
    return applied(item, _level(item, rules, facts)) if isinstance(item, dict) else item


def _level(body: Mapping[str, Any], rules: Rewrites, facts: SpeechFacts) -> dict[str, Any]:
    """What changes in the members that a single call and an item of a batch share."""
    changes: dict[str, Any] = {}
    task = body.get("task_type")
    if rules.task_type and isinstance(task, str) and task in TASKS:
        changes["task_type"] = TASKS[task]
    if rules.voice and (voice := _new_voice(body, rules, facts)) is not None:
        changes["voice"] = voice
    if rules.ref_audio and rules.ref_folder:
        audio = body.get("ref_audio")
        if isinstance(audio, str) and not audio.startswith(SCHEMES):
            url = data_url(audio, rules.ref_folder)
            if url is not None:
                changes["ref_audio"] = url
    return changes


def _new_voice(body: Mapping[str, Any], rules: Rewrites, facts: SpeechFacts) -> str | None:
    """The voice to send instead, if another."""
    name = named_voice(body)
    if not name:
        return None
    known = {voice.lower() for voice in facts.voices}
    preset = rules.preset or (facts.voices[0] if facts.voices else "")
    if name.lower() in OPENAI_VOICES and name.lower() not in known and preset:
        return preset
    return name if name != body.get("voice") else None


def _takes_default_format(body: Mapping[str, Any], rules: Rewrites) -> bool:
    streams = bool(body.get("stream")) or body.get("stream_format") is not None
    return bool(rules.default_format) and body.get("response_format") is None and not streams


def _may_stream(body: Mapping[str, Any]) -> bool:
    return body.get("response_format", "wav") in STREAMABLE


def data_url(name: str, folder: str) -> str | None:
    """The file as a data: URL; None unless it is a file really below `folder`.

    Links are followed before the place is judged, so that nothing outside can be named.
    """
    try:
        root = Path(folder).resolve(strict=True)
        path = (root / name).resolve(strict=True)
        if not path.is_relative_to(root) or not path.is_file():
            return None
        if path.stat().st_size > REFERENCE_BYTES:
            return None
        data = path.read_bytes()
    except (OSError, ValueError, RuntimeError):
        return None
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
