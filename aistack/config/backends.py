"""Settings of each backend: the engines, and the upstream servers. See `config`."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_doc import Doc
from attrs import field, frozen

from aistack.config.section import Section
from aistack.config.units import MONTH_S
from aistack.contract.limits import Range


@frozen
class EngineSection(Section):
    """Settings of one engine."""

    python: Annotated[
        str,
        Doc("Interpreter of another environment to run this engine in (with the same aistack version)."),
    ] = ""
    kill_after_s: Annotated[
        float, Doc("Like engines.kill_after_s, for this engine."), Range(0, MONTH_S)
    ] = 0.0


@frozen
class WhisperSection(EngineSection):
    """Settings of the Whisper engine."""

    compute_type: Annotated[
        str, Doc("CTranslate2 compute type; empty: float16 on CUDA, int8 on CPU.")
    ] = ""
    batched: Annotated[
        bool, Doc("Always use the batched pipeline for responses that are not streamed.")
    ] = False
    batch_size: Annotated[int, Doc("Windows per batch."), Range(1, 256)] = 8


@frozen
class ParakeetSection(EngineSection):
    """Settings of NVIDIA Parakeet (NeMo)."""

    weights: Annotated[
        str, Doc("A .nemo file or a Hugging Face id; empty: nvidia/parakeet-tdt-0.6b-v3.")
    ] = ""
    local_attention_above_s: Annotated[
        float,
        Doc("Transcribe longer audio with local attention, whose memory does not grow."),
        Range(0, MONTH_S),
    ] = 300.0
    attention_context: Annotated[
        int, Doc("Local attention: how far it reaches to each side, in frames of 80 ms."), Range(8, 4096)
    ] = 256
    window_s: Annotated[
        float, Doc("Transcribe longer audio in windows of this length."), Range(10, MONTH_S)
    ] = 720.0
    overlap_s: Annotated[
        float,
        Doc("How much neighbouring windows share; they are joined inside this part."),
        Range(1, MONTH_S),
    ] = 120.0
    least_s: Annotated[
        float, Doc("Merge a last window shorter than this into the one before it."), Range(0, MONTH_S)
    ] = 300.0


@frozen
class SensevoiceSection(EngineSection):
    """Settings of SenseVoice (FunASR)."""

    weights: Annotated[str, Doc("A model directory or a hub id; empty: iic/SenseVoiceSmall.")] = ""
    vad: Annotated[str, Doc("Directory or hub id of the voice activity detector; empty: FSMN-VAD.")] = ""
    hub: Annotated[
        Literal["ms", "hf"], Doc("Where weights come from: ms (ModelScope) or hf (Hugging Face).")
    ] = "ms"
    itn: Annotated[bool, Doc("Write numbers as digits and add punctuation.")] = True
    vad_silence_ms: Annotated[
        int,
        Doc("How long a silence must be to end a stretch of speech, in milliseconds."),
        Range(50, 10_000),
    ] = 800


@frozen
class SphinxSection(EngineSection):
    """Settings of the embedded engine, which needs no download."""


@frozen
class FakeSection(EngineSection):
    """Settings of the scripted engine for tests; not in the sample."""


@frozen
class NanochatSection(EngineSection):
    """Settings of the engine for local weights (transformers)."""

    dtype: Annotated[
        Literal["auto", "float32", "bfloat16", "float16"],
        Doc("Number format of the weights; auto: bfloat16 on CUDA, float32 on CPU."),
    ] = "auto"


@frozen
class InferenceSection(Section):
    """The internal inference API: /generate, /models, /models/swap, /stats."""

    api_key: Annotated[
        str,
        Doc("What X-Internal-API-Key must carry. Empty: the routes answer 503."),
    ] = field(default="", repr=False)
    root: Annotated[str, Doc("Folder with one directory of weights per tag.")] = ""
    model: Annotated[str, Doc("The tag to select and load at start-up.")] = ""
    openai_door: Annotated[
        bool, Doc("List the current tag in /v1/models and serve it at /v1/chat/completions.")
    ] = False
    tolerate_unknown_fields: Annotated[
        bool, Doc("Ignore unknown request fields instead of refusing them.")
    ] = False
    wait_s: Annotated[
        float, Doc("How long a /generate request may queue for a busy slot."), Range(0, 300)
    ] = 30.0
    swap_drain_s: Annotated[
        float,
        Doc("How long a change of weights waits for running streams before it fails."),
        Range(0, MONTH_S),
    ] = 60.0
    swap_beside: Annotated[
        Literal["never", "auto"],
        Doc("auto: load new weights beside the old if memory allows; never: unload the old first."),
    ] = "never"
    temperature: Annotated[float, Doc("Temperature if the request sets none."), Range(0, 2)] = 0.8
    top_k: Annotated[int, Doc("top_k if the request sets none."), Range(0, 200)] = 50
    max_tokens: Annotated[int, Doc("max_tokens if the request sets none."), Range(1, 4096)] = 512


@frozen
class OllamaSection(Section):
    """Chat: the local Ollama."""

    url: Annotated[str, Doc("Where Ollama listens.")] = "http://127.0.0.1:11434"
    keep_alive: Annotated[
        str, Doc("How long a model stays loaded after a chat that does not set keep_alive.")
    ] = "30s"
    shares_gpu: Annotated[
        bool, Doc("Ollama uses this machine's GPU although its URL is not a loopback address.")
    ] = False
    device: Annotated[str, Doc("Which of slots.devices it shares; empty: the first.")] = ""


@frozen
class QwenTtsSection(Section):
    """Speech: the Qwen3-TTS container (vLLM-Omni), and what is translated for it."""

    url: Annotated[str, Doc("Where the container listens.")] = "http://127.0.0.1:17860"
    model: Annotated[str, Doc("The id under which it is listed.")] = "qwen3-tts-12hz-0.6b-customvoice"
    device: Annotated[str, Doc("Which of slots.devices it shares; empty: the first.")] = ""
    rewrite_model: Annotated[
        bool, Doc("Replace the listed id and OpenAI's ids with the id that the container serves.")
    ] = True
    rewrite_task_type: Annotated[
        bool, Doc("Replace voice_clone and similar names with the container's names.")
    ] = True
    rewrite_voice: Annotated[bool, Doc("Replace OpenAI's voice names with a preset.")] = True
    rewrite_ref_audio: Annotated[
        bool,
        Doc("Send a local ref_audio below ref_folder as a data URL."),
    ] = True
    voice_preset: Annotated[
        str, Doc("The preset for OpenAI's voices; empty: the first one that the container lists.")
    ] = ""
    ref_folder: Annotated[
        str, Doc("Folder with the files that ref_audio may name; empty: no files.")
    ] = ""
    default_format: Annotated[
        str, Doc("response_format if the client sets none; empty: leave it unset.")
    ] = ""
    drop_stream_format: Annotated[
        bool, Doc("Leave out a stream_format that the container would refuse.")
    ] = False
