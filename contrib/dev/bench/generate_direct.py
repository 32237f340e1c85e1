"""The reference: one fresh process, one engine called directly, orders and answers as lines of JSON.

Imports nothing but what it needs, for its start is measured too.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path

from aistack.chunks import GenerationRequest, Message, ModelSpec, Token
from aistack.engines.nanochat.engine import Nanochat


def main(path: str) -> None:
    engine = Nanochat()
    engine.load(ModelSpec(Path(path).name, path, "cpu", {"threads": 1}), lambda progress: None)
    print(json.dumps({"loaded": True}), flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        request = GenerationRequest((Message("user", order["text"]),), 0.0, 50, order["tokens"])
        begin = time.perf_counter()
        texts, made = [], 0
        run = engine.run(request, threading.Event())
        while True:
            try:
                item = next(run)
            except StopIteration as stop:
                made = stop.value.tokens
                break
            if isinstance(item, Token):
                texts.append(item.text)
        took = time.perf_counter() - begin
        print(json.dumps({"s": took, "text": "".join(texts), "tokens": made}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
