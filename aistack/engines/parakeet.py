"""NVIDIA Parakeet TDT through NeMo, on CUDA or on the processor.

The model hears everything at once, so it does not stream: a stream becomes one delta. Audio longer
than five minutes is heard with local attention (full attention grows with the square of the length
and has exhausted 8 GB cards), and in windows of twelve minutes that overlap by two, joined at words
that both heard. So memory depends on the window and not on the file.

NeMo has no way to stop a forward pass: hooks on its modules raise our own exception once the run is
cancelled. Each window is worked on in a thread of its own, so that the run can report signs of life
while a slow processor works on it. What must not be done, learnt the hard way by others: full
attention on long audio, `preserve_alignments` (20 GB and no CUDA graphs), flushing CUDA's cache
between requests (hangs), a chunking factor of -1 (broken in NeMo 3.0), switching `timestamps`
from call to call (rebuilds the decoder), and trusting NeMo to change the attention (random biases).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Generator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path
from typing import Any

from aistack.chunks import ModelSpec, Progress, Report, Transcript, TranscriptionRequest, Word
from aistack.config.installing import libraries
from aistack.contract.devices import Device
from aistack.engines.audio.decode import Audio, SignsOfLife
from aistack.engines.audio.samples import RATE, AudioPiece, padded
from aistack.engines.audio.windows import Cut, windows
from aistack.engines.base import (
    AutoRules,
    CancelToken,
    EngineDefaults,
    OfferedModel,
    Yielded,
)
from aistack.engines.causes import loading
from aistack.engines.text.sentences import segments
from aistack.engines.text.stitch import ordered, stitched
from aistack.engines.torch_common import (
    RunStopped,
    bad_options,
    hook,
    hook_every_op,
    imported,
    kind_of_torch,
    no_translation,
    quiet_library,
    set_threads,
    torch_device,
    torch_load_fault,
    unloadable,
)
from aistack.errors import BackendFault, Code, ErrorKind, Fault
from aistack.weights import cache, hub

MODEL = "nvidia/parakeet-tdt-0.6b-v3"

_CODES = "en bg hr cs da nl et fi fr de el hu it lv lt mt pl pt ro sk sl es sv ru uk"
LANGUAGES = tuple(_CODES.split())
"""The codes this model knows; it finds out by itself which one it hears, and does not tell."""

SHORTEST = RATE
"""Samples below which NeMo pads on both sides, which would shift all times."""

ALIVE_S = 60.0
"""How much audio is decoded between two signs of life."""

BEAT_S = 0.5
"""Seconds between two looks at how far a window is."""

GRANULARITIES = ("sentence", "subtitle")


class Parakeet(EngineDefaults):
    """An Engine: see `engines.base`. `ModelSpec.source` is a `.nemo` file or a Hugging Face id.

    Options: `local_attention_above_s` (300), `attention_context` (256, in frames of 80 ms to each
    side), `window_s` (720), `overlap_s` (120), `least_s` (300: a shorter tail joins the window before
    it), `threads` (0: up to four).
    """

    name = "parakeet"
    provider = "Parakeet"
    requires: tuple[str, ...] = ("nemo", "lhotse", "torch")
    kill_after_s = 3.0
    family = "parakeet"
    auto = AutoRules(first_for=LANGUAGES)

    def __init__(self) -> None:
        self._model: Any = None
        self._local: bool | None = None
        self._local_above = 300.0
        self._context = 256
        self._threads = 0
        self._cut = Cut()
        self._cancel: CancelToken | None = None
        self._closing = False
        self._beats = 0
        self._layer = 0
        self._layers = 1
        self._pool = ThreadPoolExecutor(1, "parakeet")

    @property
    def install(self) -> str:
        return libraries(extra="parakeet")

    def models(self) -> tuple[OfferedModel, ...]:
        return (
            OfferedModel(
                id=MODEL,
                owned_by="nvidia",
                capability="asr",
                languages=LANGUAGES,
                supports_streaming=False,
                created=1_755_129_600,  # 2025-08-14, the release of the weights
            ),
        )

    def weights(self, model: ModelSpec, environ: Mapping[str, str]) -> bool:
        if Path(model.source).is_file():
            return True
        return cache.in_huggingface(model.source, (weights_name(model.source),), environ) is not None

    def warm(self) -> None:
        """Import NeMo (7 to 20 s), quietly."""
        logging.getLogger("nv_one_logger").setLevel(logging.CRITICAL)
        with quiet_library():
            from nemo.utils import logging as nemo_logging

            nemo_logging.setLevel(logging.ERROR)
            import nemo.collections.asr  # noqa: F401 - the import is the point

    # --- loading -----------------------------------------------------------------------------------

    def load(self, model: ModelSpec, report: Report) -> None:
        """Find or fetch the weights, then load them. Whatever goes wrong becomes a plain sentence."""
        self._model = None
        with loading(self, torch_load_fault):
            self._configure(model.options)
            path = self._file(model.source, report)
            report(Progress(0.0, None, "bytes"))
            imported(self.warm, self.provider)
            report(Progress(0.0, None, "bytes"))
            set_threads(self._threads)
            self._restore(path, torch_device(model.device))

    def _configure(self, options: Mapping[str, Any]) -> None:
        """Take over the options; one that makes no sense is a fault that says so."""
        defaults = Cut()
        try:
            self._local_above = float(options.get("local_attention_above_s", 300.0))
            self._context = int(options.get("attention_context", 256))
            self._cut = Cut(
                float(options.get("window_s", defaults.length)),
                float(options.get("overlap_s", defaults.overlap)),
                float(options.get("least_s", defaults.least)),
            )
            self._threads = int(options.get("threads") or 0)
        except (TypeError, ValueError) as exc:
            raise bad_options(self.provider) from exc

    def fetch(self, model: ModelSpec, report: Report) -> None:
        """Bring the weights onto the disk, and no further. Raises what the hub's library raises."""
        self._file(model.source, report)

    def _file(self, source: str, report: Report) -> Path:
        """The `.nemo` file. The hub is asked only for what is nowhere on disk."""
        path = Path(source)
        if path.is_file():
            return path
        if path.suffix == ".nemo" or source.count("/") != 1 or source.startswith(("/", ".", "~")):
            message = "The configured model is neither a .nemo file that exists nor a Hugging Face id."
            raise BackendFault(unloadable(message, self.provider))
        name = weights_name(source)
        found = cache.in_huggingface(source, (name,), os.environ)
        directory = found or hub.from_huggingface(source, [name], report)
        if not (directory / name).is_file():
            raise BackendFault(unloadable(f"The model's repository has no {name}.", self.provider))
        return directory / name

    def _restore(self, path: Path, device: Device) -> None:
        import torch

        with quiet_library():
            from nemo.collections.asr.models import ASRModel

            model = ASRModel.restore_from(str(path), map_location=torch.device(str(device)))
        model.eval()
        if not hasattr(getattr(model, "decoder", None), "prediction"):
            message = "The model could not be loaded: it is not a transducer like Parakeet TDT."
            raise BackendFault(unloadable(message, self.provider))
        model.change_subsampling_conv_chunking_factor(1)
        layers = list(model.encoder.layers)
        # only modules with weights are certain to be this model's own: NeMo shares the others between
        # models. When the attention is changed its modules are new and have no hooks; their layer has.
        hook(
            (part for part in model.encoder.modules() if next(part.parameters(), None) is not None),
            self._check,
        )
        hook((model.preprocessor, model.decoder.prediction["dec_rnn"]), self._check)
        hook_every_op(model.preprocessor.featurizer, self._check)
        for index, layer in enumerate(layers):
            hook((layer,), partial(self._reached, index))
        self._layers = len(layers) + 1
        self._local = False if model.encoder.self_attention_model == "rel_pos" else None
        self._model = model

    def _attend(self, local: bool) -> None:
        """Full attention, or local. Costs milliseconds, so it is done only where it changes."""
        if local == self._local:
            return
        layers = self._model.encoder.layers
        had = [set(layer.self_attn.state_dict()) for layer in layers]
        if local:
            context = [self._context, self._context]
            self._model.change_attention_model("rel_pos_local_attn", context)
        else:
            self._model.change_attention_model("rel_pos")
        for layer, names in zip(layers, had, strict=True):
            zero_new_parameters(layer.self_attn, names)
        self._local = local

    # --- running -----------------------------------------------------------------------------------

    def run(
        self, request: TranscriptionRequest, cancel: CancelToken
    ) -> Generator[Yielded, None, Transcript]:
        """Yield Progress while it works, then every Segment; return the Transcript.

        The language is the hint, or `und`: this model does not tell what it heard.
        """
        if request.translate:
            raise BackendFault(no_translation(self.provider))
        if request.granularity not in GRANULARITIES:
            raise BackendFault(_bad_granularity(self.provider))
        if self._model is None:
            raise RuntimeError("run before load")
        audio = Audio(request.path, self.provider, cancel)
        alive = SignsOfLife(audio, ALIVE_S)
        words: list[Word] = []
        done = 0.0
        for window in windows(iter(audio), self._cut):
            if cancel.is_set():
                break
            if window is None:
                yield from alive.due(done)
                continue
            local = audio.seconds > self._local_above
            found = yield from self._worked(window, local, done, audio, cancel)
            if cancel.is_set():
                break
            words = stitched(words, found, window.start, done) if done else found
            done = window.end
            yield audio.progress(done)
        language = request.language or "und"
        if not cancel.is_set():
            for segment in segments(ordered(words, audio.seconds), request.granularity):
                yield segment
                if cancel.is_set():
                    break
        return Transcript(language, audio.seconds)

    def _worked(
        self, window: AudioPiece, local: bool, done: float, audio: Audio, cancel: CancelToken
    ) -> Generator[Yielded, None, list[Word]]:
        """The words of one window, with signs of life on the way; no words if cancelled.

        However this generator ends, its thread has ended too: the next run must not meet it. A pass
        that does not stop is ended with the process, by the gateway.
        """
        self._cancel, self._closing, self._layer = cancel, False, 0
        beats = self._beats
        future: Future[list[Word]] = self._pool.submit(self._words, window, local)
        try:
            while not wait((future,), timeout=BEAT_S).done:
                if self._beats != beats:  # a pass that hangs must look like one
                    beats = self._beats
                    yield audio.progress(done + self._layer / self._layers * (window.end - done))
        finally:
            self._closing = True
            wait((future,))
        try:
            return future.result()
        except RunStopped:
            return []

    def _words(self, window: AudioPiece, local: bool) -> list[Word]:
        """One library call (in the worker's thread): words with times of the whole file."""
        self._check()
        self._attend(local)
        (found,) = self._model.transcribe(
            [padded(window.samples, SHORTEST)],
            batch_size=1,
            num_workers=0,
            timestamps=True,
            verbose=False,
        )
        words = [
            Word(window.start + float(word["start"]), window.start + float(word["end"]), text)
            for word in found.timestamp["word"]
            if (text := str(word["word"]).strip())
        ]
        if str(found.text).strip() and not words:
            raise RuntimeError("NeMo returned a text without the times of its words")
        return words

    def _check(self) -> None:
        """Called before every part of a forward pass."""
        self._beats += 1
        if self._closing or (self._cancel is not None and self._cancel.is_set()):
            raise RunStopped

    def _reached(self, layer: int) -> None:
        self._layer = layer + 1

    def kind_of(self, exc: BaseException) -> ErrorKind | None:
        return kind_of_torch(exc)


def zero_new_parameters(attention: Any, names: set[str]) -> None:
    """Set to zero what an attention has that the one before it had not.

    NeMo rebuilds the layer with biases, also where the model was trained without (this one was), and
    leaves those random: other words from process to process, and worse ones (seen with 3.0.0).
    """
    import torch

    with torch.no_grad():
        for name, values in attention.named_parameters():
            if name not in names:
                values.zero_()


def weights_name(repo_id: str) -> str:
    """The file that holds the weights in a repository of NVIDIA's."""
    return f"{repo_id.rpartition('/')[2]}.nemo"


def _bad_granularity(provider: str) -> Fault:
    return Fault(
        Code.INVALID_FIELD,
        "segment_granularity must be `sentence` or `subtitle`.",
        provider,
        param="segment_granularity",
    )
