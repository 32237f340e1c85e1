"""What all sections of the configuration have in common: their values keep to their limits."""

from __future__ import annotations

from attrs import frozen

from aistack.contract.fields import AnnotatedField, annotated_fields
from aistack.contract.limits import Limit, closed_list


@frozen
class Section:
    """Base of the sections. Raises ValueError for a value that breaks a limit, wherever it is from."""

    def __attrs_post_init__(self) -> None:
        for field in annotated_fields(type(self)):
            broken = broken_limit(field, getattr(self, field.name))
            if broken is not None:
                raise ValueError(f"{field.name} must {broken.must}")


def limits(field: AnnotatedField) -> tuple[Limit, ...]:
    """The limits of a setting; the words of a `Literal` are one."""
    words = closed_list(field.kind)
    return field.limits if words is None else (*field.limits, words)


def broken_limit(field: AnnotatedField, value: object) -> Limit | None:
    """The first limit that a value of the setting's type breaks; None if it keeps to all."""
    return next((limit for limit in limits(field) if not limit.fits(value)), None)
