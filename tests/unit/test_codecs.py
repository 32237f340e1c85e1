"""No codec in the package is anybody's choice but the code's. Read from the syntax trees.

What a client or an upstream sends may name a codec (a charset, a mail header): Python has one that
takes the square of the time, and keeps each name that it does not know.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "aistack"

DATA = {
    ("web/upload/multipart.py", "part"): "undoes a transfer encoding; aiohttp knows four",
    ("engines/nanochat/detokenize.py", "self._utf8"): "an incremental UTF-8 decoder",
    ("engines/nanochat/detokenize.py", "self._tokenizer"): "token ids",
}
"""Whose `decode` takes data as its first argument, by file and receiver."""

ALLOWED = {("web/upload/multipart.py", "get_charset"): "looked up in web/upload/charsets.py"}
"""Where a charset that was sent is asked for."""

ASKS = frozenset({"get_charset", "charset", "get_encoding"})
"""What gives out the charset that was sent."""

READS = frozenset({"text", "json"})
"""Methods of requests and answers that decode with the charset that was sent, unless told another."""

SENT = frozenset({"request", "response", "answer", "reply"})


def literal(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def encoding_of(call: ast.Call, place: int) -> ast.expr | None:
    """The encoding that a call names, as its argument at `place` or by name; None if it names none."""
    named = next((keyword.value for keyword in call.keywords if keyword.arg == "encoding"), None)
    return named or (call.args[place] if len(call.args) > place else None)


def wrong(tree: ast.Module, name: str) -> Iterator[str]:
    """What of a module lets others choose."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            of = ast.unparse(node.value)
            if node.attr in ASKS and (name, node.attr) not in ALLOWED:
                yield f"{node.lineno}: {of}.{node.attr}"
            if node.attr == "post" and of == "request":
                yield f"{node.lineno}: request.post decodes with any codec"
            if node.attr == "content_type" and of == "response":
                yield f"{node.lineno}: response.content_type is read as mail"
            if node.attr == "content_type" and of == "request" and name.startswith("web/"):
                yield f"{node.lineno}: request.content_type is read as mail"
        if isinstance(node, ast.Call):
            yield from wrong_call(node, name)


def wrong_call(call: ast.Call, name: str) -> Iterator[str]:
    if isinstance(call.func, ast.Name):
        encoding = encoding_of(call, {"str": 1, "open": 3}.get(call.func.id, 9))
        if encoding is not None and not literal(encoding):
            yield f"{call.lineno}: {ast.unparse(call)}"
        return
    if not isinstance(call.func, ast.Attribute):
        return
    of, method = ast.unparse(call.func.value), call.func.attr
    if (name, of) in DATA and method == "decode":
        return
    encoding = encoding_of(call, 0 if method in ("decode", "text") else 9)
    if encoding is not None and not literal(encoding):
        yield f"{call.lineno}: {ast.unparse(call)}"
    if method in READS and of in SENT and encoding is None:
        yield f"{call.lineno}: {ast.unparse(call)} takes the sender's charset"
    if of == "codecs" and not (call.args and literal(call.args[0])):
        yield f"{call.lineno}: {ast.unparse(call)}"


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_every_codec_is_named_in_the_code(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert list(wrong(tree, path.relative_to(PACKAGE).as_posix())) == []


@pytest.mark.parametrize(
    "source",
    [
        "body.decode(part.get_charset('utf-8'))",
        "body.decode(encoding=name)",
        "str(body, name)",
        "open(path, encoding=name)",
        "path.read_text(encoding=name)",
        "codecs.lookup(name)",
        "await request.text()",
        "await request.json()",
        "await request.post()",
        "await response.json(content_type=None)",
        "kind = request.content_type",
        "name = response.charset",
    ],
)
def test_the_search_finds(source: str) -> None:
    assert list(wrong(ast.parse(source), "web/x.py"))


def test_what_is_excepted_is_there() -> None:
    """An exception nobody needs any more is a hole."""
    for (name, of), why in DATA.items():
        assert f"{of}.decode(" in (PACKAGE / name).read_text(encoding="utf-8"), why
    for (name, method), why in ALLOWED.items():
        assert f".{method}(" in (PACKAGE / name).read_text(encoding="utf-8"), why
