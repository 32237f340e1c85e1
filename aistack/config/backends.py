"""Settings of each backend: the engines of ours, and the servers we relay to. See `config`."""

from __future__ import annotations

from attrs import field, frozen

from aistack.config.rules import MONTH_S, between, one_of


@frozen
class EngineSection:
    """Settings of one engine."""

    python: str = field(
        default="",
        metadata={
            "says": "Interpreter of another environment to run this engine in (same aistack version)."
        },
    )
    kill_after_s: float = field(
        default=0.0,
        validator=between(0, MONTH_S),
        metadata={"says": "As engines.kill_after_s, for this engine."},
    )


@frozen
class WhisperSection(EngineSection):
    """Settings of the Whisper engine."""

    compute_type: str = field(
        default="",
        metadata={"says": "CTranslate2 compute type; empty: float16 on CUDA, int8 on CPU."},
    )
    batched: bool = field(
        default=False, metadata={"says": "Always use the batched pipeline for whole answers."}
    )
    batch_size: int = field(
        default=8, validator=between(1, 256), metadata={"says": "Windows per batch."}
    )


@frozen
class ParakeetSection(EngineSection):
    """Settings of NVIDIA Parakeet (NeMo)."""

    weights: str = field(
        default="",
        metadata={"says": "A .nemo file or a Hugging Face id; empty: nvidia/parakeet-tdt-0.6b-v3."},
    )
    local_attention_above_s: float = field(
        default=300.0,
        validator=between(0, MONTH_S),
        metadata={"says": "Longer audio is heard with local attention, whose memory does not grow."},
    )
    attention_context: int = field(
        default=256,
        validator=between(8, 4096),
        metadata={"says": "Local attention: frames of 80 ms heard to each side."},
    )
    window_s: float = field(
        default=720.0,
        validator=between(10, MONTH_S),
        metadata={"says": "Longer audio is heard in windows of this length."},
    )
    overlap_s: float = field(
        default=120.0,
        validator=between(1, MONTH_S),
        metadata={"says": "How much neighbouring windows share; they are joined in there."},
    )
    least_s: float = field(
        default=300.0,
        validator=between(0, MONTH_S),
        metadata={"says": "A shorter last window joins the one before it."},
    )


@frozen
class SensevoiceSection(EngineSection):
    """Settings of SenseVoice (FunASR)."""

    weights: str = field(
        default="", metadata={"says": "A model directory or a hub id; empty: iic/SenseVoiceSmall."}
    )
    vad: str = field(
        default="", metadata={"says": "Directory or hub id of the voice detector; empty: FSMN-VAD."}
    )
    hub: str = field(
        default="ms",
        validator=one_of("ms", "hf"),
        metadata={"says": 'Where weights come from: "ms" (ModelScope) or "hf" (Hugging Face).'},
    )
    itn: bool = field(default=True, metadata={"says": "Write numbers as digits and add punctuation."})
    vad_silence_ms: int = field(
        default=800,
        validator=between(50, 10_000),
        metadata={"says": "Silence that ends a stretch of speech."},
    )


@frozen
class SphinxSection(EngineSection):
    """Settings of the embedded engine, which needs no download."""


@frozen
class FakeSection(EngineSection):
    """Settings of the scripted engine of the tests; not in the sample."""


@frozen
class NanochatSection(EngineSection):
    """Settings of the engine for local weights (transformers)."""

    dtype: str = field(
        default="auto",
        validator=one_of("auto", "float32", "bfloat16", "float16"),
        metadata={"says": 'Number format of the weights; "auto": bfloat16 on CUDA, float32 on CPU.'},
    )


@frozen
class InferenceSection:
    """The internal inference API: /generate, /models, /models/swap, /stats."""

    api_key: str = field(
        default="",
        repr=False,
        metadata={"says": "What X-Internal-API-Key must carry. Empty: the routes answer 503."},
    )
    root: str = field(default="", metadata={"says": "Folder with one directory of weights per tag."})
    model: str = field(default="", metadata={"says": "The tag to select and load at start."})
    openai_door: bool = field(
        default=False,
        metadata={"says": "List the current tag in /v1/models and serve it at /v1/chat/completions."},
    )
    tolerate_unknown_fields: bool = field(
        default=False, metadata={"says": "Ignore unknown request fields instead of refusing them."}
    )
    wait_s: float = field(
        default=30.0,
        validator=between(0, 300),
        metadata={"says": "How long /generate stands in line for a busy slot."},
    )
    swap_drain_s: float = field(
        default=60.0,
        validator=between(0, MONTH_S),
        metadata={"says": "How long a change of weights waits for running streams before it fails."},
    )
    swap_beside: str = field(
        default="never",
        validator=one_of("never", "auto"),
        metadata={
            "says": '"auto": load new weights beside the old where memory allows; "never": after them.'
        },
    )
    temperature: float = field(
        default=0.8, validator=between(0, 2), metadata={"says": "Where the request names none."}
    )
    top_k: int = field(
        default=50, validator=between(0, 200), metadata={"says": "Where the request names none."}
    )
    max_tokens: int = field(
        default=512, validator=between(1, 4096), metadata={"says": "Where the request names none."}
    )


@frozen
class OllamaSection:
    """Chat: the local Ollama."""

    url: str = field(default="http://127.0.0.1:11434", metadata={"says": "Where Ollama listens."})
    keep_alive: str = field(
        default="30s",
        metadata={"says": "How long a model stays loaded after a chat that does not say."},
    )
    shares_gpu: bool = field(
        default=False,
        metadata={"says": "Ollama is not on this machine's loopback, but uses this card all the same."},
    )
    device: str = field(
        default="", metadata={"says": "Which of slots.devices it shares; empty: the first."}
    )


@frozen
class QwenTtsSection:
    """Speech: the Qwen3-TTS container (vLLM-Omni), and what is translated for it."""

    url: str = field(default="http://127.0.0.1:17860", metadata={"says": "Where the container listens."})
    model: str = field(
        default="qwen3-tts-12hz-0.6b-customvoice",
        metadata={"says": "The id it is listed under."},
    )
    device: str = field(
        default="", metadata={"says": "Which of slots.devices it shares; empty: the first."}
    )
    rewrite_model: bool = field(
        default=True, metadata={"says": "Replace the listed id and OpenAI's by the one it serves."}
    )
    rewrite_task_type: bool = field(
        default=True, metadata={"says": "Replace voice_clone and its like by the container's names."}
    )
    rewrite_voice: bool = field(
        default=True, metadata={"says": "Replace OpenAI's voice names by a preset."}
    )
    rewrite_ref_audio: bool = field(
        default=True, metadata={"says": "Send a local ref_audio below ref_folder as a data URL."}
    )
    voice_preset: str = field(
        default="", metadata={"says": "The preset for OpenAI's voices; empty: the first it lists."}
    )
    ref_folder: str = field(
        default="", metadata={"says": "Folder whose files ref_audio may name; empty: none."}
    )
    default_format: str = field(
        default="", metadata={"says": "response_format where the client names none; empty: as it is."}
    )
    drop_stream_format: bool = field(
        default=False, metadata={"says": "Leave out a stream_format that the container would refuse."}
    )
