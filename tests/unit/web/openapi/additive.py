"""What changed between two versions of the reference that would break a client of the older one.

Within `/v1` only additions are allowed. A client sends what the old reference let it send, and reads
what the old one told it: so what is asked for may only get wider, and what is answered may only get
narrower or gain members.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Doc = dict[str, Any]
_METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
_LEAST = ("minimum", "minLength", "minItems", "exclusiveMinimum")
_MOST = ("maximum", "maxLength", "maxItems", "exclusiveMaximum")


def breaking(old: Doc, new: Doc) -> list[str]:
    """A sentence for each change that is no addition; empty if a client of `old` gets on with `new`."""
    return list(_Compared(old, new).all())


class _Compared:
    def __init__(self, old: Doc, new: Doc) -> None:
        self.old = old
        self.new = new
        self._under_way: set[tuple[str, str, bool]] = set()

    def all(self) -> Iterator[str]:
        for path, methods in self.old["paths"].items():
            if path not in self.new["paths"]:
                yield f"{path}: is gone"
                continue
            for method in _METHODS:
                if method not in methods:
                    continue
                where = f"{method.upper()} {path}"
                if method not in self.new["paths"][path]:
                    yield f"{where}: is gone"
                else:
                    yield from self.operation(where, methods[method], self.new["paths"][path][method])

    def operation(self, where: str, old: Doc, new: Doc) -> Iterator[str]:
        if old.get("operationId") != new.get("operationId"):
            yield f"{where}: operationId was {old.get('operationId')}, is {new.get('operationId')}"
        yield from self.security(where, old, new)
        yield from self.parameters(where, old, new)
        yield from self.body(where, old.get("requestBody"), new.get("requestBody"))
        for status, answer in old["responses"].items():
            if status not in new["responses"]:
                if int(status) < 400:
                    yield f"{where}: {status} is gone"
                continue
            yield from self.answer(
                f"{where} {status}",
                self.resolve(self.old, answer),
                self.resolve(self.new, new["responses"][status]),
            )
        for status in new["responses"]:
            if status not in old["responses"] and int(status) < 400:
                yield f"{where}: {status} is a new kind of success"

    def security(self, where: str, old: Doc, new: Doc) -> Iterator[str]:
        before = old.get("security", self.old.get("security", []))
        now = new.get("security", self.new.get("security", []))
        for way in before or [{}]:
            if way not in (now or [{}]):
                yield f"{where}: {'no key' if not way else sorted(way)} is not enough any more"

    def parameters(self, where: str, old: Doc, new: Doc) -> Iterator[str]:
        before = self.by_name(self.old, old)
        now = self.by_name(self.new, new)
        for key, parameter in before.items():
            name = " ".join(key)
            if key not in now:
                yield f"{where}: the parameter {name} is gone"
                continue
            if now[key].get("required") and not parameter.get("required"):
                yield f"{where}: the parameter {name} is required now"
            yield from self.schema(
                f"{where} {name}", parameter.get("schema", {}), now[key].get("schema", {}), asked=True
            )
        for key in now.keys() - before.keys():
            if now[key].get("required"):
                yield f"{where}: the new parameter {' '.join(key)} is required"

    def by_name(self, document: Doc, operation: Doc) -> dict[tuple[str, str], Doc]:
        found = [self.resolve(document, each) for each in operation.get("parameters", [])]
        return {(each["in"], each["name"]): each for each in found}

    def body(self, where: str, old: Doc | None, new: Doc | None) -> Iterator[str]:
        if old is None:
            if new is not None and new.get("required"):
                yield f"{where}: a body is required now"
            return
        if new is None:
            yield f"{where}: takes no body any more"
            return
        if new.get("required") and not old.get("required"):
            yield f"{where}: the body is required now"
        for media, content in old["content"].items():
            if media not in new["content"]:
                yield f"{where}: {media} is not taken any more"
                continue
            schemas = content.get("schema", {}), new["content"][media].get("schema", {})
            yield from self.schema(f"{where} body", *schemas, asked=True)

    def answer(self, where: str, old: Doc, new: Doc) -> Iterator[str]:
        for name in old.get("headers", {}):
            if name not in new.get("headers", {}):
                yield f"{where}: the header {name} is gone"
                continue
            before = self.resolve(self.old, old["headers"][name])
            now = self.resolve(self.new, new["headers"][name])
            if before.get("required") and not now.get("required"):
                yield f"{where}: the header {name} may be missing now"
            yield from self.schema(f"{where} {name}", before["schema"], now["schema"], asked=False)
        for media, content in old.get("content", {}).items():
            if media not in new.get("content", {}):
                yield f"{where}: {media} is not answered any more"
                continue
            schemas = content.get("schema", {}), new["content"][media].get("schema", {})
            yield from self.schema(f"{where} {media}", *schemas, asked=False)
        for code in set(new.get("x-error-codes", [])) - set(self._all_codes()):
            yield f"{where}: {code} is an error code that old clients do not know"

    def _all_codes(self) -> Iterator[str]:
        for methods in self.old["paths"].values():
            for operation in methods.values():
                for answer in operation["responses"].values():
                    yield from answer.get("x-error-codes", [])

    # --- schemas ---------------------------------------------------------------------------------------

    def resolve(self, document: Doc, thing: Doc) -> Doc:
        while "$ref" in thing:
            found: Any = document
            for step in thing["$ref"].removeprefix("#/").split("/"):
                found = found[step]
            thing = found
        return thing

    def schema(self, where: str, old: Any, new: Any, *, asked: bool) -> Iterator[str]:
        key = (str(old), str(new), asked)
        if key in self._under_way:
            return  # a type that holds itself
        self._under_way.add(key)
        try:
            yield from self._schema(
                where, self.resolve(self.old, old), self.resolve(self.new, new), asked
            )
        finally:
            self._under_way.discard(key)

    def _schema(self, where: str, old: Doc, new: Doc, asked: bool) -> Iterator[str]:
        yield from self.choice(where, old, new, asked)
        yield from self.values(where, old, new, asked)
        yield from self.limits(where, old, new, asked)
        yield from self.members(where, old, new, asked)
        for word in ("items", "contentSchema"):
            if word in old and word in new:
                yield from self.schema(
                    f"{where}[]" if word == "items" else where, old[word], new[word], asked=asked
                )
            elif (word in new) if asked else (word in old):
                yield f"{where}: {word} was {old.get(word)}, is {new.get(word)}"
        if old.get("format") != new.get("format") or old.get("contentMediaType") != new.get(
            "contentMediaType"
        ):
            yield f"{where}: has another format"
        if old.get("pattern") != new.get("pattern") and (
            ("pattern" in new) if asked else ("pattern" in old)
        ):
            yield f"{where}: the pattern was {old.get('pattern')}, is {new.get('pattern')}"

    def choice(self, where: str, old: Doc, new: Doc, asked: bool) -> Iterator[str]:
        """Of several schemas: those asked for may become more, those answered fewer."""
        word = next((word for word in ("anyOf", "oneOf") if word in old or word in new), None)
        if word is None:
            return
        before = old.get("anyOf") or old.get("oneOf") or [old]
        now = new.get("anyOf") or new.get("oneOf") or [new]
        narrow, wide = (before, now) if asked else (now, before)
        for one in narrow:
            pairs = [(one, other) if asked else (other, one) for other in wide]
            if not any(not list(self.schema(where, *pair, asked=asked)) for pair in pairs):
                name = one.get("$ref", str(one)).rpartition("/")[2]
                yield f"{where}: {name} is {'gone' if asked else 'new'} among what can be there"

    def values(self, where: str, old: Doc, new: Doc, asked: bool) -> Iterator[str]:
        """Types and closed lists."""
        before, now = _types(old), _types(new)
        narrower, wider = (now, before) if asked else (before, now)
        if wider - narrower if "*" not in narrower else set():
            yield f"{where}: the type was {sorted(before)}, is {sorted(now)}"
        listed, lists = _words(old), _words(new)
        if asked and lists is not None and (listed is None or listed - lists):
            yield f"{where}: not every value is taken any more"
        if not asked and listed is not None and (lists is None or lists - listed):
            yield f"{where}: may have values that old clients do not know"
        if asked and old.get("default") != new.get("default"):
            yield f"{where}: the default was {old.get('default')}, is {new.get('default')}"

    def limits(self, where: str, old: Doc, new: Doc, asked: bool) -> Iterator[str]:
        for word in (*_LEAST, *_MOST):
            before, now = old.get(word), new.get(word)
            if before == now:
                continue
            tight, loose = (now, before) if asked else (before, now)
            if tight is not None and (
                loose is None or (tight > loose if word in _LEAST else tight < loose)
            ):
                yield f"{where}: {word} was {before}, is {now}"

    def members(self, where: str, old: Doc, new: Doc, asked: bool) -> Iterator[str]:
        """Of objects."""
        before, now = old.get("properties", {}), new.get("properties", {})
        for name, schema in before.items():
            if name not in now:
                yield f"{where}.{name}: is gone"
            else:
                yield from self.schema(f"{where}.{name}", schema, now[name], asked=asked)
        needed, needs = set(old.get("required", [])), set(new.get("required", []))
        for name in sorted((needs - needed) if asked else (needed - needs) & now.keys()):
            yield f"{where}.{name}: {'is required now' if asked else 'may be missing now'}"
        was_closed = old.get("additionalProperties") is False
        is_closed = new.get("additionalProperties") is False
        if asked and is_closed and not was_closed and _types(old) == {"object"}:
            yield f"{where}: takes no other members any more"
        if not asked and was_closed and (not is_closed or now.keys() - before.keys()):
            yield f"{where}: may have members that it was said never to have"


def _types(schema: Doc) -> set[str]:
    """The JSON types a schema lets in, `*` for any."""
    kind = schema.get("type")
    if kind is None:
        words = _words(schema)
        return {"string"} if words and all(isinstance(word, str) for word in words) else {"*"}
    return {kind} if isinstance(kind, str) else set(kind)


def _words(schema: Doc) -> set[Any] | None:
    """The closed list of values, if there is one."""
    if "const" in schema:
        return {schema["const"]}
    return set(schema["enum"]) if "enum" in schema else None
