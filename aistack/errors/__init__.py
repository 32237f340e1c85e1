"""Failures as values: the five kinds, the closed list of codes, one fault, and the one envelope.

Pure. Nothing else in the project writes an error body. Source: seed 003 section 8, which fixes the
kinds and their statuses; the codes are an additive refinement. What a code means is told by its member
of `Code` and nowhere else: the OpenAPI document and the pages of docs/errors/ are made from it.
"""

from aistack.errors.codes import Code, ErrorKind, Retry
from aistack.errors.fault import (
    GATEWAY,
    RETRY_S,
    BackendFault,
    Fault,
    envelope,
    error_object,
    fault_headers,
)
from aistack.errors.wording import (
    body_not_json,
    body_not_object,
    busy,
    context_overflow,
    cooling_down,
    crashed,
    draining,
    fault_from,
    found_dead,
    internal,
    load_failed,
    malformed,
    missing_field,
    not_installed,
    not_listed,
    out_of_memory,
    shutting_down,
    stalled,
    too_slow,
    unknown_model,
    unknown_path,
    unreadable_audio,
)

__all__ = [
    "GATEWAY",
    "RETRY_S",
    "BackendFault",
    "Code",
    "ErrorKind",
    "Fault",
    "Retry",
    "body_not_json",
    "body_not_object",
    "busy",
    "context_overflow",
    "cooling_down",
    "crashed",
    "draining",
    "envelope",
    "error_object",
    "fault_from",
    "fault_headers",
    "found_dead",
    "internal",
    "load_failed",
    "malformed",
    "missing_field",
    "not_installed",
    "not_listed",
    "out_of_memory",
    "shutting_down",
    "stalled",
    "too_slow",
    "unknown_model",
    "unknown_path",
    "unreadable_audio",
]
