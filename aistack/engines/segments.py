"""A run's segments on their way out: what stands between two of them, and the downgrade of a stream."""

from __future__ import annotations

from collections.abc import Generator, Iterator

from attrs import evolve

from aistack.chunks import Notice, Result, Segment, Transcript, Word, separator
from aistack.engines.base import Yielded


def spaced(
    run: Iterator[Yielded] | Generator[Yielded, None, Result],
) -> Generator[Yielded, None, Result]:
    """The same run with every segment's `lead` filled in, empty segments dropped, and the text joined.

    The one place that decides what stands between two segments, so that joined deltas are the text
    in every format.
    """
    texts: list[str] = []
    before = ""
    generator = iter(run)
    try:
        while True:
            try:
                item = next(generator)
            except StopIteration as stop:
                result: Result = stop.value
                break
            if isinstance(item, Segment):
                text = item.text.strip()
                if not text:
                    continue
                item = evolve(item, text=text, lead=separator(before, text))
                texts.append(item.lead + text)
                before = text
            yield item
    finally:
        if isinstance(generator, Generator):
            generator.close()
    if isinstance(result, Transcript):
        return evolve(result, text="".join(texts), segments=len(texts))
    return result


def as_one(run: Generator[Yielded, None, Result], model: str) -> Generator[Yielded, None, Result]:
    """Downgrade a run that cannot stream: the notice first, then one segment with the whole text."""
    yield Notice(
        "streaming_not_supported",
        model,
        f"{model} does not stream: the whole transcript comes as one event. "
        "Models with supports_streaming in /v1/models do.",
    )
    texts: list[str] = []
    words: list[Word] = []
    while True:
        try:
            item = next(run)
        except StopIteration as stop:
            result: Result = stop.value
            break
        if isinstance(item, Segment):
            text = item.text.strip()
            if text:
                texts.append(separator(texts[-1] if texts else "", text) + text)
            words.extend(item.words or ())
        else:
            yield item
    end = result.duration if isinstance(result, Transcript) else 0.0
    if texts:
        yield Segment(0.0, end, "".join(texts), tuple(words))
    return result
