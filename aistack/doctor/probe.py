"""What runs in a process of its own for the doctor: import one engine's libraries, and tell.

`python -m aistack.doctor.probe MODULE:CLASS` prints one JSON object on the descriptor that was stdout;
what the libraries print goes to stderr. An import that crashes takes only this process with it.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import sys
import time
from importlib import metadata
from typing import Any

from aistack import __version__

NATIVE = ("torch", "ctranslate2")
"""Libraries that bring CUDA with them, or do not."""


def main(target: str, out: int) -> None:
    """Look at one engine and write what was found to `out`."""
    found: dict[str, Any] = {"version": __version__, "python": sys.version.split()[0]}
    try:
        found |= looked(target)
    except BaseException as exc:  # noqa: BLE001 - a broken library raises whatever it likes
        found["error"] = _told(exc)
    with open(out, "w", encoding="utf-8") as pipe:
        json.dump(found, pipe)
    # libraries' own clean-up at exit may crash or hang, and says nothing about their use
    sys.stderr.flush()
    os._exit(0)


def looked(target: str) -> dict[str, Any]:
    """The libraries of one engine: which are missing, or their versions and what they can."""
    module, _, name = target.partition(":")
    engine = getattr(importlib.import_module(module), name)()
    missing = [each for each in engine.requires if importlib.util.find_spec(each) is None]
    if missing:
        return {"missing": missing}
    began = time.monotonic()
    remark = engine.warm()
    return {
        "seconds": round(time.monotonic() - began, 1),
        "versions": versions((*engine.requires, *(each for each in NATIVE if each in sys.modules))),
        "cuda": cuda(),
        **({"remark": remark} if isinstance(remark, str) else {}),
    }


def versions(modules: tuple[str, ...]) -> dict[str, str]:
    """The distributions that modules come from, with their versions."""
    distributions = metadata.packages_distributions()
    found: dict[str, str] = {}
    for module in modules:
        for name in distributions.get(module, ())[:1]:
            found[name] = metadata.version(name)
    return found


def cuda() -> bool | None:
    """Whether the libraries can use a card; none if none of them could ever."""
    torch = sys.modules.get("torch")
    if torch is not None:
        return bool(torch.cuda.is_available())
    ctranslate2 = sys.modules.get("ctranslate2")
    if ctranslate2 is not None:
        return bool(ctranslate2.get_cuda_device_count())
    return None


def _told(exc: BaseException) -> str:
    """The first cause in one line: what is wrong is usually at the end of the chain."""
    while exc.__cause__ is not None:
        exc = exc.__cause__
    text = str(exc).strip().splitlines()
    return f"{type(exc).__name__}: {text[0]}" if text else type(exc).__name__


if __name__ == "__main__":
    _out = os.dup(1)
    os.dup2(2, 1)
    main(sys.argv[1], _out)
