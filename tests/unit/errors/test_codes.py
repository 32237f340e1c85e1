"""What every code means on the wire, written out once more by hand: within `/v1` none of it changes."""

from __future__ import annotations

import json

import pytest
from attrs import evolve

from aistack import errors
from aistack.errors import Code, ErrorKind, Fault, Retry, envelope, fault_headers
from aistack.run.frames import fault_from_frame, fault_to_frame

AFTER_5_S = (("Retry-After", "5"),)
NO_RETRY = (("x-should-retry", "false"),)
WIRE = (
    ("slot_busy", 503, "network", AFTER_5_S),
    ("draining", 503, "network", AFTER_5_S),
    ("shutting_down", 503, "network", AFTER_5_S),
    ("load_cooling_down", 503, "network", AFTER_5_S),
    ("model_not_found", 400, "malformed", ()),
    ("model_not_found", 404, "malformed", ()),
    ("not_found", 404, "malformed", ()),
    ("method_not_allowed", 405, "malformed", ()),
    ("unsupported_audio", 400, "malformed", ()),
    ("missing_field", 400, "malformed", ()),
    ("invalid_field", 400, "malformed", ()),
    ("invalid_body", 400, "malformed", ()),
    ("too_large", 413, "overflow", ()),
    ("context_overflow", 400, "malformed", ()),
    ("out_of_memory", 413, "overflow", ()),
    ("backend_missing", 503, "network", NO_RETRY),
    ("backend_unreachable", 503, "network", NO_RETRY),
    ("model_load_failed", 503, "network", NO_RETRY),
    ("engine_crashed", 503, "network", ()),
    ("engine_crashed", 500, "unknown", NO_RETRY),
    ("engine_stalled", 500, "unknown", NO_RETRY),
    ("upstream_busy", 503, "network", AFTER_5_S),
    ("upstream_timeout", 503, "network", ()),
    ("upstream_rejected", 400, "malformed", ()),
    ("upstream_error", 500, "unknown", NO_RETRY),
    ("unauthorized", 401, "malformed", ()),
    ("forbidden_origin", 403, "malformed", ()),
    ("not_configured", 503, "network", NO_RETRY),
    ("cancelled", 499, "cancelled", ()),
    ("internal_error", 500, "unknown", NO_RETRY),
)


def test_every_code_and_status_is_here() -> None:
    every = [(code.value, status) for code in Code for status in code.statuses]
    assert [(code, status) for code, status, _, _ in WIRE] == every


@pytest.mark.parametrize(("code", "status", "kind", "headers"), WIRE)
def test_a13_a14_a15_a16_a151_what_a_code_is_sent_with(
    code: str, status: int, kind: str, headers: tuple[tuple[str, str], ...]
) -> None:
    fault = Fault(Code(code), "So it is.", status=status)
    assert fault_headers(fault) == headers
    error = json.loads(envelope(fault))["error"]
    assert (fault.status, error["kind"], error["code"]) == (status, kind, code)
    theirs = status < 499
    assert error["type"] == ("invalid_request_error" if theirs else "server_error")


def test_the_first_status_is_the_usual_one() -> None:
    for code in Code:
        assert Fault(code, "So it is.").status == code.status == code.statuses[0]
        assert Fault(code, "So it is.").kind is code.kind


def test_every_status_has_one_kind() -> None:
    statuses = [status for kind in ErrorKind for status in kind.statuses]
    assert len(statuses) == len(set(statuses))
    assert {status for code in Code for status in code.statuses} == set(statuses)


def test_a_code_does_not_come_with_a_strange_status() -> None:
    with pytest.raises(ValueError, match="slot_busy does not come with status 500"):
        Fault(Code.SLOT_BUSY, "So it is.", status=500)
    with pytest.raises(ValueError, match="not_found does not come with status 400"):
        evolve(errors.unknown_path("/x"), status=400)


def test_every_code_is_explained_by_one_sentence() -> None:
    for code in Code:
        assert code.meaning.endswith(".") and ". " not in code.meaning
        assert code.value == code.name.lower()


def test_a_wait_of_its_own_is_sent() -> None:
    assert fault_headers(errors.cooling_down("whisper-small", 3, 20)) == (("Retry-After", "20"),)
    useless = Fault(Code.NOT_CONFIGURED, "So it is.", retry_after=20)
    assert useless.retry is Retry.NEVER
    assert fault_headers(useless) == NO_RETRY


@pytest.mark.parametrize(
    "fault",
    [
        errors.cooling_down("whisper-small", 3, 20),
        errors.crashed("Parakeet"),
        errors.not_listed("whisper-huge"),
        errors.busy("So it is.", op="transcribe"),
    ],
)
def test_a_fault_comes_out_of_an_engine_process_as_it_went_in(fault: Fault) -> None:
    """Its status and its wait were once dropped on the way."""
    assert fault_from_frame(json.loads(json.dumps(fault_to_frame(fault)))) == fault
