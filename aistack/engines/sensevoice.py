"""SenseVoice Small through FunASR, on CUDA or on the processor.

Voice activity first, then chunk by chunk: each stretch of speech is decoded by itself and yielded at
once. The library's own pipeline of the two would keep everything until the end, lose the times, and
glue English words together. Long files go through in pieces of two minutes that end in a pause, so
memory and the time to the first words do not grow with the file.

FunASR's traps, each closed here: a clip of one sample ends the process, so everything is padded to a
tenth of a second; a directory that is missing is taken for a hub name, so the hub is asked by us
alone; `max_end_silence_time` of a model's settings is ignored unless it is passed; weights that do
not fit are left random without a word, so they are compared; options stay behind in shared dicts, so
each call gets a copy; some texts cannot be aligned with their audio (an IndexError), and are then
decoded again without times.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aistack.chunks import ModelSpec, Progress, Report, Segment, Transcript, TranscriptionRequest, Word
from aistack.config.installing import libraries
from aistack.contract.devices import Device
from aistack.engines.audio.decode import Audio, SignsOfLife, pieces
from aistack.engines.audio.samples import RATE, AudioPiece, padded
from aistack.engines.base import (
    AutoRules,
    CancelToken,
    EngineDefaults,
    OfferedModel,
    Yielded,
)
from aistack.engines.causes import loading
from aistack.engines.out_of_memory import is_out_of_memory
from aistack.engines.sensevoice_files import (
    MODEL,
    VAD,
    directory_of,
    is_here,
    lacks_weights,
)
from aistack.engines.text.rich_text import LANGUAGES, Placed, parse_rich_text, placed
from aistack.engines.text.sentences import phrases
from aistack.engines.text.stitch import ordered
from aistack.engines.torch_common import (
    DAMAGED,
    RunStopped,
    bad_options,
    hook,
    imported,
    kind_of_torch,
    no_translation,
    quiet_library,
    set_threads,
    torch_device,
    torch_load_fault,
    unloadable,
)
from aistack.errors import BackendFault, ErrorKind

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SHORTEST = RATE // 10
"""Samples below which FunASR divides by zero, or worse."""

PIECE_S = 120.0
"""Wished length of the pieces in which voice activity is looked for, in seconds."""

ALIVE_S = 30.0
"""How much audio is decoded between two signs of life."""


class SenseVoice(EngineDefaults):
    """An Engine: see `engines.base`. `ModelSpec.source` is a directory or a hub id.

    Options: `vad` (directory or hub id of an FSMN-VAD), `hub` (`ms` for ModelScope, the default, or
    `hf` for Hugging Face: where to fetch what is not on disk), `vad_silence_ms` (800: this much silence
    ends a chunk), `vad_longest_ms` (30000), `itn` (true: numbers as digits), `threads` (0: up to four).
    """

    name = "sensevoice"
    provider = "SenseVoice"
    requires: tuple[str, ...] = ("funasr", "kaldi_native_fbank", "torch")
    family = "sensevoice"
    auto = AutoRules(first_for=("zh", "yue", "ja", "ko"))

    def __init__(self) -> None:
        self._model: Any = None
        self._vad: Any = None
        self._options: dict[str, Any] = {}
        self._vad_options: dict[str, Any] = {}
        self._itn = True
        self._silence, self._longest, self._threads = 800, 30_000, 0
        self._cancel: CancelToken | None = None

    @property
    def install(self) -> str:
        return libraries(extra="sensevoice")

    def models(self) -> tuple[OfferedModel, ...]:
        return (
            OfferedModel(
                id=MODEL,
                owned_by="alibaba",
                capability="asr",
                languages=LANGUAGES,
                created=1_720_051_200,  # 2024-07-04, the release of the weights
            ),
        )

    def weights(self, model: ModelSpec, environ: Mapping[str, str]) -> bool:
        return all(is_here(source, environ) for source in (model.source, _vad_of(model)))

    def warm(self) -> None:
        """Import FunASR (7 to 20 s), quietly: it configures the root logger and prints."""
        with quiet_library():
            import funasr  # noqa: F401 - the import is the point

    # --- loading -----------------------------------------------------------------------------------

    def load(self, model: ModelSpec, report: Report) -> None:
        """Find or fetch the weights, then load them. Whatever goes wrong becomes a plain sentence."""
        self._model = self._vad = None
        with loading(self, torch_load_fault):
            self._configure(model.options)
            directory, vad = self._directories(model, report)
            report(Progress(0.0, None, "bytes"))
            imported(self.warm, self.provider)
            report(Progress(0.0, None, "bytes"))
            self._load(directory, vad, torch_device(model.device))

    def fetch(self, model: ModelSpec, report: Report) -> None:
        """Bring the weights onto the disk, and no further. Raises BackendFault, or what a hub's library
        raises."""
        self._configure(model.options)
        self._directories(model, report)

    def _directories(self, model: ModelSpec, report: Report) -> tuple[Path, Path]:
        """The directories of the model and of its voice activity model, fetched if need be."""
        where = str(model.options.get("hub") or "ms")
        directory = directory_of(model.source, where, self.provider, report)
        return directory, directory_of(_vad_of(model), where, self.provider, report)

    def _configure(self, options: Mapping[str, Any]) -> None:
        """Take over the options; one that makes no sense is a fault that says so."""
        try:
            self._silence = int(options.get("vad_silence_ms") or 800)
            self._longest = int(options.get("vad_longest_ms") or 30_000)
            self._threads = int(options.get("threads") or 0)
        except (TypeError, ValueError) as exc:
            raise bad_options(self.provider) from exc
        if str(options.get("hub") or "ms") not in ("ms", "hf"):
            raise bad_options(self.provider)
        self._itn = bool(options.get("itn", True))

    def _unloadable(self, message: str) -> BackendFault:
        return BackendFault(unloadable(message, self.provider))

    def _load(self, directory: Path, vad: Path, device: Device) -> None:
        from funasr import AutoModel

        common = {
            "device": str(device),
            "ncpu": set_threads(self._threads),
            "disable_update": True,
            "disable_pbar": True,
            "ignore_init_mismatch": False,
        }
        with quiet_library():
            speech = AutoModel(model=str(directory), **common)
            voice = AutoModel(
                model=str(vad),
                max_single_segment_time=self._longest,
                max_end_silence_time=self._silence,
                **common,
            )
        for loaded, path in ((speech, directory), (voice, vad)):
            if lacks_weights(loaded.model, path / "model.pt"):
                raise self._unloadable(DAMAGED)
            if Device.parse(str(loaded.kwargs["device"])).kind != device.kind:
                raise self._unloadable(
                    "The model could not be loaded: CUDA does not work on this server."
                )
            loaded.model.eval()
        if not hasattr(speech.model, "lid_dict"):
            raise self._unloadable("The model could not be loaded: it is not a SenseVoice model.")
        for part in (speech.model.encoder, voice.model.encoder):
            hook(
                (part for part in part.modules() if next(part.parameters(), None) is not None),
                self._check,
            )
        self._model, self._vad = speech.model, voice.model
        self._options, self._vad_options = dict(speech.kwargs), dict(voice.kwargs)
        self._try()

    def _try(self) -> None:
        """Hear a second of next to nothing: wrong settings and statistics show only in use."""
        import numpy as np

        self._cancel = None
        nothing = with_noise_floor(np.zeros(RATE, np.float32))
        try:
            list(self._speech(AudioPiece(0.0, nothing)))
            self._decoded(nothing, None)
        except RuntimeError as exc:
            if is_out_of_memory(exc) or "cuda" in str(exc).lower():
                raise
            raise self._unloadable(DAMAGED) from exc

    # --- running -----------------------------------------------------------------------------------

    def run(
        self, request: TranscriptionRequest, cancel: CancelToken
    ) -> Generator[Yielded, None, Transcript]:
        """Yield each Segment as soon as it is decoded, and Progress; return the Transcript.

        The language is the one detected in most of the speech (in seconds), without any speech the
        hint or `und`.
        """
        if request.translate:
            raise BackendFault(no_translation(self.provider))
        if self._model is None:
            raise RuntimeError("run before load")
        self._cancel = cancel
        audio = Audio(request.path, self.provider, cancel)
        alive = SignsOfLife(audio, ALIVE_S)
        hint = request.language if request.language in LANGUAGES else None
        spoken: Counter[str] = Counter()
        end = 0.0
        with suppress(RunStopped):
            for piece in pieces(iter(audio), PIECE_S):
                self._check()
                if piece is None:
                    yield from alive.due(end)
                    continue
                for start, stop in self._speech(piece):
                    self._check()
                    language, found = self._transcribed(piece, start, stop, hint, end)
                    if language is not None:
                        spoken[language] += round((stop - start) * 1000)
                    for segment in found:
                        yield segment
                        self._check()
                    end = max(end, stop)
                    yield audio.progress(end)
                end = piece.end
                yield audio.progress(end)
        detected = spoken.most_common(1)[0][0] if spoken else request.language or "und"
        return Transcript(detected, audio.seconds)

    def _speech(self, piece: AudioPiece) -> Iterator[tuple[float, float]]:
        """Where in the file there is speech, in seconds."""
        samples = padded(piece.samples, SHORTEST)
        try:
            found = self._voiced(samples)
        except ValueError:  # certain of a silence, the library takes the logarithm of 0
            found = self._voiced(with_noise_floor(samples))
        for start, stop in found:
            begins = min(piece.start + start / 1000, piece.end)
            ends = min(piece.start + stop / 1000, piece.end)
            if ends > begins:
                yield begins, ends

    def _voiced(self, samples: NDArray[np.float32]) -> list[tuple[int, int]]:
        """One library call: stretches of speech, in milliseconds."""
        import torch

        options = {**self._vad_options, "cache": {}}
        with torch.no_grad():
            results, _ = self._vad.inference(data_in=[samples], key=["vad"], **options)
        return [(start, stop) for start, stop in results[0]["value"]]

    def _transcribed(
        self, piece: AudioPiece, start: float, stop: float, hint: str | None, floor: float
    ) -> tuple[str | None, list[Segment]]:
        """The language and the segments of one chunk; None and no segment if it holds no speech.

        No time is before `floor`, where the chunk before ended.
        """
        first, last = (round((at - piece.start) * RATE) for at in (start, stop))
        result = self._decoded(padded(piece.samples[first:last], SHORTEST), hint)
        rich = parse_rich_text(str(result["text"]))
        if not rich.speech or not any(char.isalnum() for char in rich.text):
            return None, []
        start = round(max(start, floor), 3)
        stop = round(max(stop, start), 3)
        extra = {"emotion": rich.emotion, "events": list(rich.events)}
        found = placed(rich.text, result.get("words", ()), result.get("timestamp", ()))
        words = [_moved(at.word, piece.start + first / RATE, start) for at in found]
        found = [Placed(word, at.at) for word, at in zip(ordered(words, stop), found, strict=True)]
        if not found:
            return rich.language, [Segment(start, stop, rich.text, (), extra=extra)]
        return rich.language, _segments(rich.text, found, start, stop, extra)

    def _decoded(self, samples: NDArray[np.float32], hint: str | None) -> dict[str, Any]:
        """One library call: the text with its tags, and the times of its pieces where it has them."""
        import torch

        options = {**self._options, "language": hint or "auto", "use_itn": self._itn}
        with torch.no_grad():
            for times in (True, False):
                try:
                    results, _ = self._model.inference(
                        data_in=[samples], key=["chunk"], **{**options, "output_timestamp": times}
                    )
                    break
                except IndexError:  # the library's alignment fails on some texts
                    if not times:
                        raise
        return dict(results[0])

    def _check(self) -> None:
        """Called between all parts of the work, and before every part of a forward pass."""
        if self._cancel is not None and self._cancel.is_set():
            raise RunStopped

    def kind_of(self, exc: BaseException) -> ErrorKind | None:
        return kind_of_torch(exc)


def _vad_of(model: ModelSpec) -> str:
    """The directory or hub id of the voice activity model."""
    return str(model.options.get("vad") or VAD)


def _moved(word: Word, by: float, floor: float) -> Word:
    return Word(max(word.start + by, floor), max(word.end + by, floor), word.word)


def _segments(
    text: str, found: list[Placed], start: float, stop: float, extra: dict[str, Any]
) -> list[Segment]:
    """A chunk as one segment a phrase; together their texts are the chunk's, their times its times."""
    segments: list[Segment] = []
    groups = phrases([at.word for at in found])
    index = 0
    for n, group in enumerate(groups):
        after = index + len(group)
        until = found[after].at if after < len(found) else len(text)
        begins = start if n == 0 else group[0].start
        ends = stop if n == len(groups) - 1 else group[-1].end
        segments.append(
            Segment(begins, ends, text[found[index].at : until].strip(), tuple(group), extra=extra)
        )
        index = after
    return segments


def with_noise_floor(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """The same with faint noise under it (60 dB below full scale), always the same."""
    import numpy as np

    noise = np.random.default_rng(0).standard_normal(samples.size, np.float32)
    return samples + noise * np.float32(0.001)
