"""The chat service's way of asking, while the weights go back and forth (short form of
`python -m contrib.dev.bench.consumer`)."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from contrib.dev.bench.consumer import TAGS, Answered, Report, Swap, drive
from tests.http.internal.talk import KEY, REAL, serving


@pytest.mark.timeout(300)  # up to four loads of the libraries, on however slow a machine
@pytest.mark.parametrize("devices", [("cpu",), ("cpu:0", "cpu:1")])
def test_b73_b76_b99_conversations_while_the_weights_change(
    devices: tuple[str, ...], environment: Path
) -> None:
    """The engine as it is shipped. None cut or truncated, every 503 followed by an answer, and no
    old weights after their swap was done."""
    slots = {"devices": devices}
    engines = {"spare": "off"}
    folder = environment / f"consumer-{len(devices)}"
    with serving(folder, REAL, slots=slots, engines=engines) as service:
        url = f"http://127.0.0.1:{service.port}"
        swaps = 3 if len(devices) == 1 else 1
        report = asyncio.run(drive(url, KEY, 30, swaps, workers=4, wait_most=0.5))
    assert report.problems == []
    assert len(report.answered) == 30
    assert [swap.tag for swap in report.swaps] == [TAGS[1], TAGS[0], TAGS[1]][:swaps]
    assert {one.tag for one in report.answered} == set(TAGS)
    assert report.refusals > 0
    assert any(one.tries > 1 for one in report.answered)


def test_the_judge_sees_old_weights() -> None:
    swap = Swap("tiny-bo", asked=1.0, done=2.0)
    fair = [Answered(0.5, 1.5, "tiny-ada", 1, 0.0), Answered(1.5, 3.0, "tiny-ada", 1, 0.0)]
    report = Report(answered=[*fair, Answered(2.5, 3.0, "tiny-bo", 1, 0.0)], swaps=[swap])
    report.judge()
    assert report.problems == []
    report.answered.append(Answered(2.5, 3.0, "tiny-ada", 1, 0.0))
    report.judge()
    assert len(report.problems) == 1
