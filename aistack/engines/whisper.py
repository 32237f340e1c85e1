"""Whisper through faster-whisper (CTranslate2), on CUDA or on the processor.

Every transcript comes from the same settings, whatever form the client asked for: beam 5, voice
activity detection and word times always on. Long files go through the library in pieces of about
five minutes that end in a pause: the library decodes, filters and analyses all it is given before
the first word, and it can be stopped only between two windows; in pieces, memory does not grow with
the file (the library alone would need 1 GB more for each 20 minutes of speech), the first words of
a long file come at once, and a cancelled run stops within a second.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import evolve

from aistack.chunks import ModelSpec, Progress, Report, Transcript, TranscriptionRequest
from aistack.config.installing import libraries
from aistack.contract.devices import Device
from aistack.engines.audio.decode import Audio, SignsOfLife, pieces
from aistack.engines.audio.samples import AudioPiece
from aistack.engines.base import (
    AutoRules,
    CancelToken,
    EngineDefaults,
    OfferedModel,
    OperatorModels,
    Yielded,
)
from aistack.engines.causes import kind_of_library, loading
from aistack.engines.whisper_segments import Order, mapped
from aistack.errors import BackendFault, Code, ErrorKind, Fault
from aistack.weights import cache, hub
from aistack.weights.whisper import NEEDED, PATTERNS, SIZES, hub_id, lacking

if TYPE_CHECKING:
    from faster_whisper import BatchedInferencePipeline, WhisperModel

PIECE_S = 300.0
"""Wished length of the pieces in which long audio is transcribed, in seconds."""

WINDOW_S = 30.0
"""What Whisper hears at a time."""

ALIVE_S = 30.0
"""How much audio is decoded between two signs of life."""

_CODES = """
    af am ar as az ba be bg bn bo br bs ca cs cy da de el en es et eu fa fi fo fr gl gu ha haw he hi
    hr ht hu hy id is it ja jw ka kk km kn ko la lb ln lo lt lv mg mi mk ml mn mr ms mt my ne nl nn no
    oc pa pl ps pt ro ru sa sd si sk sl sn so sq sr su sv sw ta te tg th tk tl tr tt uk ur uz vi yi yo
    yue zh
"""
LANGUAGES = tuple(_CODES.split())
"""The codes Whisper knows."""

PREFIX = "whisper-"
SHORT = {"large-v3": "large", "large-v3-turbo": "turbo"}
"""Sizes that have a shorter name, too."""

SMALL = OfferedModel(
    id="whisper-small",
    owned_by="openai",
    capability="asr",
    languages=LANGUAGES,
    translate=True,
    created=1_663_718_400,  # 2022-09-21, the release of the weights
    source="small",
    names=("small",),
)


class Whisper(EngineDefaults):
    """An Engine: see `engines.base`. `ModelSpec.source` is a size, a hub id or a directory.

    Options: `compute_type` (empty: float16 on CUDA, int8 on a processor), `threads`,
    `batch_size`. Devices: `cpu`, `cuda`, `cuda:N`, or `auto`.
    """

    name = "whisper"
    provider = "Faster-Whisper"
    requires: tuple[str, ...] = ("faster_whisper",)
    operator_models = OperatorModels.LOCAL
    auto = AutoRules(
        first_otherwise=True,
        stand_ins=tuple(
            f"{PREFIX}{size}"
            for size in ("medium", "large-v3-turbo", "large-v3", "base", "large-v2", "large-v1", "tiny")
        ),
        not_translating=(f"{PREFIX}large-v3-turbo",),  # it was never taught to
    )

    def __init__(self) -> None:
        self._model: WhisperModel | None = None
        self._pipeline: BatchedInferencePipeline | None = None
        self._batch_size = 8

    @property
    def install(self) -> str:
        return libraries("faster-whisper")

    def models(self) -> tuple[OfferedModel, ...]:
        others = (size for size in SIZES if size != SMALL.source)
        return (SMALL, *(evolve(SMALL, **_size_fields(size), listed=False) for size in others))

    def weights(self, model: ModelSpec, environ: Mapping[str, str]) -> bool:
        source = model.source
        if _is_directory(source):
            return lacking(Path(source)) is None
        repo_id = hub_id(source) if source in SIZES else source
        return cache.in_huggingface(repo_id, NEEDED, environ) is not None

    def warm(self) -> None:
        import faster_whisper  # noqa: F401 - the import is the point

    # --- loading -----------------------------------------------------------------------------------

    def load(self, model: ModelSpec, report: Report) -> None:
        """Find or fetch the weights, then load them. Whatever goes wrong becomes a plain sentence."""
        self._model = self._pipeline = None
        with loading(self):
            directory = self._directory(model.source, report)
            report(Progress(0.0, None, "bytes"))
            self._load(directory, model)

    def fetch(self, model: ModelSpec, report: Report) -> None:
        """Bring the weights onto the disk, and no further. Raises what the hub's library raises."""
        self._directory(model.source, report)

    def _directory(self, source: str, report: Report) -> Path:
        """The directory with the model's files. The hub is asked only for what is nowhere on disk."""
        if _is_directory(source):
            directory = Path(source)
        else:
            repo_id = hub_id(source) if source in SIZES else source
            if repo_id.count("/") != 1 or repo_id.startswith(("/", ".", "~")):
                raise self._unloadable(
                    "The configured model is neither a Whisper size, nor a Hugging Face id, nor a "
                    "directory that exists."
                )
            found = cache.in_huggingface(repo_id, NEEDED, os.environ)
            directory = found or hub.from_huggingface(repo_id, PATTERNS, report)
        lack = lacking(directory)
        if lack:
            raise self._unloadable(
                f"The model directory lacks {lack}. It must hold a Whisper model converted for "
                "CTranslate2, and its tokenizer.json."
            )
        return directory

    def _unloadable(self, message: str) -> BackendFault:
        return BackendFault(Fault(Code.MODEL_LOAD_FAILED, message, self.provider))

    def _load(self, directory: Path, model: ModelSpec) -> None:
        from faster_whisper import BatchedInferencePipeline, WhisperModel

        kind, index = ctranslate2_device(model.device)
        options = model.options
        self._model = WhisperModel(
            str(directory),
            device=kind,
            device_index=index,
            compute_type=options.get("compute_type") or compute_type_of(kind, index),
            cpu_threads=threads_of(int(options.get("threads") or 0)),
        )
        if kind == "cuda":
            warm_up(self._model)
        self._pipeline = BatchedInferencePipeline(self._model)
        self._batch_size = max(1, int(options.get("batch_size") or 8))

    # --- running -----------------------------------------------------------------------------------

    def run(
        self, request: TranscriptionRequest, cancel: CancelToken
    ) -> Generator[Yielded, None, Transcript]:
        """Yield a Segment and a Progress for each stretch of text; return the Transcript.

        Progress counts what has been transcribed, of what is known of the length. The language is
        the one detected in the first piece with speech in it; without any speech it is the hint, or
        `und`.
        """
        if self._model is None:
            raise RuntimeError("run before load")
        length = max(PIECE_S, self._batch_size * WINDOW_S) if request.batched else PIECE_S
        audio = Audio(request.path, self.provider, cancel)
        alive = SignsOfLife(audio, ALIVE_S)
        hint = known(request.language, self._model.supported_languages)
        detected: str | None = None
        order = Order()
        done = 0.0
        for piece in pieces(iter(audio), length):
            if cancel.is_set():
                break
            if piece is None:
                yield from alive.due(done)
                continue
            segments, info = self._transcribe(piece, request, detected or hint)
            if detected is None and info.duration_after_vad > 0:
                detected = str(info.language)
            with closing(segments):
                for segment in mapped(segments, piece, order):
                    if cancel.is_set():
                        break
                    yield segment
                    done = segment.end
                    yield audio.progress(done)
            if cancel.is_set():
                break
            done = piece.end
            yield audio.progress(done)
        return Transcript(detected or hint or request.language or "und", audio.seconds)

    def _transcribe(
        self, piece: AudioPiece, request: TranscriptionRequest, language: str | None
    ) -> tuple[Any, Any]:
        """One library call: a generator of its segments, and what it says about the piece."""
        assert self._model is not None and self._pipeline is not None
        options: dict[str, Any] = {
            "language": language,
            # an English-only model has no other task, and says so with a warning
            "task": "translate" if request.translate and self._multilingual else "transcribe",
            "beam_size": 5,
            "vad_filter": True,
            "word_timestamps": True,
            "initial_prompt": request.prompt or None,
            "hotwords": request.hotwords or None,
        }
        if request.temperature is not None:
            options["temperature"] = float(request.temperature)
        if request.batched:
            # without timestamps there would be one segment for each half minute
            return self._pipeline.transcribe(  # type: ignore[no-any-return]
                piece.samples, batch_size=self._batch_size, without_timestamps=False, **options
            )
        return self._model.transcribe(piece.samples, **options)  # type: ignore[no-any-return]

    @property
    def _multilingual(self) -> bool:
        return self._model is not None and bool(self._model.model.is_multilingual)

    def kind_of(self, exc: BaseException) -> ErrorKind | None:
        return kind_of_library(exc)


def _size_fields(size: str) -> dict[str, Any]:
    """What tells a size from the others."""
    short = SHORT.get(size)
    names = (size,) if short is None else (size, short, f"{PREFIX}{short}")
    return {"id": f"{PREFIX}{size}", "source": size, "names": names}


def _is_directory(source: str) -> bool:
    """Whether a source is a directory; one that is named like a size is not taken for it."""
    return source not in SIZES and os.path.isdir(source)


# --- what the library is given ---------------------------------------------------------------------


def ctranslate2_device(device: str) -> tuple[str, int]:
    """A slot's device as CTranslate2 wants it: the kind and the card's number."""

    def cuda_works() -> bool:
        import ctranslate2

        return bool(ctranslate2.get_cuda_device_count() > 0)

    found = Device.parse(device).resolved(cuda_works)
    return found.kind, found.number


def compute_type_of(kind: str, index: int) -> str:
    """float16 on CUDA and int8 on a processor, where the hardware has it, else the library's choice."""
    import ctranslate2

    wished = "float16" if kind == "cuda" else "int8"
    return wished if wished in ctranslate2.get_supported_compute_types(kind, index) else "default"


def threads_of(configured: int) -> int:
    """CPU threads: as configured, as OMP_NUM_THREADS says (0), or up to four.

    Four is the library's own default, which it takes even where there are fewer cores.
    """
    if configured > 0:
        return configured
    if os.environ.get("OMP_NUM_THREADS"):
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(cores or 1, 4)


def warm_up(model: WhisperModel) -> None:
    """Encode one silent window: CUDA's libraries are opened, and their memory taken, only when first
    used; what is missing should show while loading, not in somebody's request."""
    import numpy as np

    extractor = model.feature_extractor
    model.encode(np.zeros((model.model.n_mels, extractor.nb_max_frames), np.float32))


def known(language: str | None, supported: Iterable[str]) -> str | None:
    """The hint, if the model knows it; the library refuses all others, and a hint must not."""
    code = (language or "").strip().lower().replace("_", "-").partition("-")[0]
    return code if code in supported else None
