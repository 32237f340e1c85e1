"""`python -m contrib.dev.bench [asr slot health upload machine relay observe] [--quick] [--json FILE]`.

Prints one table of medians and ratios. Starts every server it needs on loopback and stops it.
"""

from __future__ import annotations

import argparse
import importlib

from contrib.dev.bench.harness import Row, save, table

PARTS = ("asr", "slot", "health", "upload", "machine", "relay", "observe")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m contrib.dev.bench", description=__doc__)
    parser.add_argument("parts", nargs="*", default=list(PARTS), help=f"of {', '.join(PARTS)}")
    parser.add_argument("--quick", action="store_true", help="a tenth of the work, for a first look")
    parser.add_argument("--json", metavar="FILE", help="write the rows as JSON too")
    parser.add_argument("--litellm", default="", metavar="COMMAND", help="relay: LiteLLM beside us")
    parser.add_argument("--nginx", action="store_true", help="relay: nginx beside us")
    options = parser.parse_args()
    peers = {"litellm": options.litellm, "nginx": options.nginx}
    rows: list[Row] = []
    for part in options.parts:
        more = peers if part == "relay" else {}
        found = importlib.import_module(f"contrib.dev.bench.{part}").run(options.quick, **more)
        print(table(found), flush=True)
        rows += found
    if len(options.parts) > 1:
        print("\n" + table(rows))
    if options.json:
        save(rows, options.json)


if __name__ == "__main__":
    main()
