"""What schemathesis cannot know about requests, told to it when it makes them.

A schema cannot say which ids of models this machine has, nor which words a form's text may have for true
and false, nor that the name of a part is a header, in which control characters are an error of HTTP, nor
which of Unicode's characters can be printed.
"""

from __future__ import annotations

from typing import Any

import schemathesis
from schemathesis.transport.serialization import Binary

from aistack.contract.booleans import FALSE, TRUE

FORMS = ("/v1/audio/transcriptions", "/v1/audio/translations")
SWITCHES = ("stream", "translate")


@schemathesis.hook
def map_body(context: Any, body: Any) -> Any:
    """Name a model that is there; leave out parts whose names HTTP does not allow."""
    if context.operation.path not in FORMS or not isinstance(body, dict):
        return body
    body = {name: value for name, value in body.items() if name.isascii() and name.isprintable()}
    if isinstance(body.get("model"), str):
        body["model"] = "auto"
    if not isinstance(body.get("file", b""), bytes | Binary):
        del body["file"]  # as a part it would be bytes, and those are no wrong file
    return body


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Let no wrong value be one that can be meant, and no right one be one that cannot be a name.

    (What is changed here is validated anew, against a schema that knows no bytes: never a right form.)
    """
    if not isinstance(case.body, dict):
        return
    if case.path == "/models/swap":
        tag = case.body.get("model_tag")
        if isinstance(tag, str) and not tag.isprintable():
            case.body["model_tag"] = "".join(char if char.isprintable() else "x" for char in tag)
    if case.path in FORMS:
        for name in SWITCHES:
            value = case.body.get(name, True)
            meant = str(value).strip().lower() in ("", *TRUE, *FALSE)
            # A list is as many parts as it has members: none at all, or the one that is meant.
            if isinstance(value, list) or (meant and not isinstance(value, bool)):
                case.body[name] = "perhaps"
