"""The last of the documentation's first steps: a change of weights, run as it stands on the page."""

from __future__ import annotations

import json
from pathlib import Path

from tests.e2e.blocks import events, page, section, shell
from tests.e2e.server import ROOT, serving


def test_first_swap(tmp_path: Path) -> None:
    text = page("guide/start.md")
    started = section(text, "Start")[0][1]
    settings = dict(
        word.split("=", 1) for word in started.splitlines()[0].removeprefix("$ export ").split()
    )
    settings["AISTACK_INFERENCE__ROOT"] = str(ROOT / settings["AISTACK_INFERENCE__ROOT"])
    blocks = [block for block in section(text, "First swap") if block[0] == "sh"]
    with serving(fake=False, flags=["--demo"], environ=settings) as server:
        for block, tag, name in zip(blocks, ("tiny-ada", "tiny-bo"), ("Ada", "Bo"), strict=True):
            told = shell(block, server, tmp_path)
            answer, _ = json.JSONDecoder().raw_decode(told)
            assert (answer["status"], answer["current_model"]) == ("accepted", "tiny-ada")
            *tokens, done = events(told[told.index("data: ") :])
            assert done == {"done": True}
            assert name in "".join(event["token"] for event in tokens)
            assert server.log.find("job.done", op="swap", model=tag)
