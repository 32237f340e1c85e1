"""Two slots on one processor: streams side by side, and a swap that reaches one after another."""

from __future__ import annotations

from attrs import frozen

from tests.http.gateway.service import Gates, Loads, Service
from tests.http.internal.talk import (
    ADA,
    BO,
    COUNT,
    WHO,
    begin,
    current,
    refused,
    stats,
    swap,
    text_of,
    until,
)


@frozen
class Side:
    """A tag, and what it answers."""

    tag: str
    says: dict[str, str]


SIDES = (Side("tiny-ada", ADA), Side("tiny-bo", BO))


def sides(service: Service) -> tuple[Side, Side]:
    """The current weights, and the others. Tests begin with either: every swap costs two loads."""
    old = next(side for side in SIDES if side.tag == current(service))
    new = next(side for side in SIDES if side is not old)
    return old, new


def gpu_of(events: list[dict[str, object]]) -> int:
    """The one slot that a whole stream names."""
    named = {event["gpu"] for event in events if "token" in event}
    assert len(named) == 1
    (gpu,) = named
    assert isinstance(gpu, int)
    return gpu


def residents(service: Service) -> list[str | None]:
    return [worker["resident"] for worker in stats(service)["workers"]]


def test_b56_b86_b89_two_streams_side_by_side(pair: Service, gates: Gates) -> None:
    old, _ = sides(pair)
    one = begin(pair, "@gate:one", COUNT)
    first = gates.entered("one")
    two = begin(pair, "@gate:two", COUNT)
    second = gates.entered("two")
    told = stats(pair)
    assert (told["total_workers"], told["busy_workers"], told["available_workers"]) == (2, 2, 0)
    assert told["active_generations"] == 2
    assert [(w["gpu_id"], w["device"]) for w in told["workers"]] == [(0, "cpu:0"), (1, "cpu:1")]
    assert residents(pair) == [old.tag, old.tag]
    third = begin(pair, WHO)
    until(pair, lambda: stats(pair)["queue_depth"] == 1, "the third stands in line")
    second()
    late, other = third.answer(), two.answer()
    assert text_of(late) == old.says[WHO]
    assert text_of(other) == old.says[COUNT]
    first()
    whole = one.answer()
    assert text_of(whole) == old.says[COUNT]
    assert {gpu_of(whole.events), gpu_of(other.events)} == {0, 1}
    assert gpu_of(late.events) == gpu_of(other.events)


def test_b73_b74_b76_a_swap_reaches_one_slot_after_another(pair: Service, gates: Gates) -> None:
    """Streams end on the old weights; the current tag changes with the last slot."""
    old, new = sides(pair)
    calls = {name: begin(pair, f"@gate:{name}", COUNT) for name in ("a", "b")}
    passes = {name: gates.entered(name) for name in calls}
    answer = swap(pair, new.tag)
    assert answer.json == {"status": "accepted", "current_model": old.tag}
    passes["b"]()
    ended = calls["b"].answer()
    assert text_of(ended) == old.says[COUNT]
    changed = gpu_of(ended.events)
    until(pair, lambda: residents(pair)[changed] == new.tag, "the first is changed")
    assert stats(pair)["draining"] is True
    assert residents(pair)[1 - changed] == old.tag
    assert current(pair) == old.tag
    refused(begin(pair, WHO).answer(), 503, "draining")
    passes["a"]()
    assert text_of(calls["a"].answer()) == old.says[COUNT]
    pair.quiet()
    assert current(pair) == new.tag
    assert residents(pair) == [new.tag, new.tag]
    both = [begin(pair, "@gate:x", COUNT), begin(pair, "@gate:x", COUNT)]
    for let_pass in [gates.entered("x"), gates.entered("x")]:
        let_pass()
    assert [text_of(call.answer()) for call in both] == [new.says[COUNT]] * 2


def test_a_slot_not_yet_reached_serves_new_calls_with_the_old_weights(
    pair: Service, gates: Gates, loads: Loads
) -> None:
    old, new = sides(pair)
    loads(**{new.tag.replace("-", "_"): [{"gate": "loading"}]})
    assert swap(pair, new.tag).status == 202
    first = gates.entered("loading")
    meanwhile = begin(pair, WHO).answer()
    assert text_of(meanwhile) == old.says[WHO]
    assert residents(pair)[gpu_of(meanwhile.events)] == old.tag
    assert pair.client.get("/health").json["ready"] is True, "calls are served"
    first()
    second = gates.entered("loading")
    assert pair.client.get("/health").json["ready"] is False, "neither the old nor the new answer"
    assert sorted(residents(pair), key=str) == [None, new.tag]
    assert current(pair) == old.tag
    refused(begin(pair, WHO).answer(), 503, "draining")
    second()
    pair.quiet()
    assert current(pair) == new.tag
    assert text_of(begin(pair, WHO).answer()) == new.says[WHO]
