"""Changing weights under load: drains, refusals, failures, and that nothing old answers afterwards."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from aistack.engines.nanochat import weights as nano_weights
from aistack.run.headroom import available_bytes, enough
from tests.http.gateway.service import Gates, Loads, Service
from tests.http.internal.talk import (
    ADA,
    BO,
    COUNT,
    ROOT,
    WHO,
    ask,
    begin,
    current,
    get,
    post,
    refused,
    serving,
    stats,
    swap,
    swapped,
    text_of,
    until,
    user,
)


@pytest.fixture
def bare(environment: Path, tmp_path: Path, root: Path, gates_: object) -> Iterator[Service]:
    """A service that starts with no weights selected."""
    settings = {"root": str(root), "model": ""}
    with serving(environment / tmp_path.name, inference=settings) as service:
        yield service


def checkpoint(root: Path, tag: str, change: dict[str, torch.Tensor | None]) -> None:
    """tiny-bo with some of its tensors taken away or added."""
    folder = root / tag
    (folder / "tokenizer").mkdir(parents=True)
    for name in ("meta_000021.json", "tokenizer/tokenizer.pkl"):
        (folder / name).write_bytes((ROOT / "tiny-bo" / name).read_bytes())
    state = torch.load(ROOT / "tiny-bo" / "model_000021.pt", weights_only=True)
    for name, tensor in change.items():
        if tensor is None:
            del state[name]
        else:
            state[name] = tensor
    torch.save(state, folder / "model_000021.pt")


@pytest.fixture(scope="module")
def broken(root: Path) -> Path:
    """Some weights that no load gets through, beside the good ones."""
    if not (root / "no-head").exists():
        checkpoint(root, "no-head", {"lm_head.weight": None})
        checkpoint(root, "misshapen", {"lm_head.weight": torch.zeros(384, 32)})
        checkpoint(root, "of-2026", {"resid_lambdas": torch.ones(2)})
        folder = root / "cut-short"
        folder.mkdir()
        for file in (ROOT / "tiny-bo-hf").iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
        whole = (folder / "model.safetensors").read_bytes()
        (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    return root


def test_b3_b51_b71_from_nothing_to_weights(bare: Service, gates: Gates, loads: Loads) -> None:
    told = bare.client.get("/health").json
    assert (told["ready"], told["current_model"]) == (False, None)
    refused(begin(bare, WHO).answer(), 503, "model_load_failed")
    loads(tiny_bo=[{"gate": "first"}])
    answer = swap(bare, "tiny-bo")
    assert answer.status == 202
    assert answer.json == {"status": "accepted", "current_model": "tiny-bo"}
    let_pass = gates.entered("first")
    early = begin(bare, WHO).answer()
    refused(early, 503, "draining")
    assert early.headers["retry-after"] == "5", "waiting helps"
    let_pass()
    bare.quiet()
    assert current(bare) == "tiny-bo"
    assert bare.client.get("/health").json["ready"] is True
    assert ask(bare, WHO) == BO[WHO]


def test_b67_b73_b74_b75_b82_a_swap_while_a_stream_runs(service: Service, gates: Gates) -> None:
    """202 at once; the stream ends whole on the old weights; new calls meet 503 meanwhile."""
    stream = begin(service, "@gate:old", COUNT)
    let_pass = gates.entered("old")
    since = service.mark
    answer = swap(service, "tiny-bo")
    assert answer.status == 202
    assert answer.json == {"status": "accepted", "current_model": "tiny-ada"}
    told = stats(service)
    assert told["draining"] is True
    assert told["last_swap"] == {"model_tag": "tiny-bo", "status": "running", "error": None}
    late = begin(service, WHO).answer()
    refused(late, 503, "draining")
    assert late.headers["retry-after"] == "5"
    second = swap(service, "tiny-ada-hf")
    refused(second, 503, "draining")
    assert "retry-after" in second.headers
    health = service.client.get("/health").json
    assert (health["ready"], health["current_model"]) == (True, "tiny-ada"), "during the drain"
    let_pass()
    assert text_of(stream.answer()) == ADA[COUNT]
    service.quiet()
    order = [t.job.op.value for t in service.transitions[since:] if t.target.value == "done"]
    assert order[-2:] == ["generate", "swap"]
    assert stats(service)["last_swap"] == {"model_tag": "tiny-bo", "status": "ok", "error": None}
    assert stats(service)["draining"] is False
    assert current(service) == "tiny-bo"
    assert ask(service, COUNT) == BO[COUNT]


def test_b70_the_same_tag_disturbs_nobody(service: Service, gates: Gates) -> None:
    stream = begin(service, "@gate:same", COUNT)
    let_pass = gates.entered("same")
    answer = swap(service, "tiny-ada")
    assert (answer.status, answer.json) == (202, {"status": "ok", "current_model": "tiny-ada"})
    assert stats(service)["draining"] is False
    queued = begin(service, WHO)
    until(service, lambda: stats(service)["queue_depth"] == 1, "who comes after it is not refused")
    let_pass()
    assert text_of(stream.answer()) == ADA[COUNT]
    assert text_of(queued.answer()) == ADA[WHO]


def test_b76_who_stood_in_line_before_the_swap_gets_no_old_weights_after_it(
    service: Service, gates: Gates
) -> None:
    stream = begin(service, "@gate:head", COUNT)
    let_pass = gates.entered("head")
    queued = []
    for place in range(3):
        queued.append(begin(service, WHO))
        until(service, lambda place=place: stats(service)["queue_depth"] == place + 1, "in line")  # type: ignore[misc]
    assert swap(service, "tiny-bo").status == 202
    let_pass()
    assert text_of(stream.answer()) == ADA[COUNT]
    assert [text_of(call.answer()) for call in queued] == [BO[WHO]] * 3


def test_b6_health_and_lists_answer_while_weights_load(
    service: Service, gates: Gates, loads: Loads
) -> None:
    """Not ready between the old weights and the new, and the old tag is current until the end."""
    loads(tiny_bo=[{"gate": "loading"}])
    assert swap(service, "tiny-bo").status == 202
    let_pass = gates.entered("loading")
    health = service.client.get("/health").json
    assert (health["status"], health["ready"], health["current_model"]) == ("ok", False, "tiny-ada")
    assert get(service, "/models")["current_model"] == "tiny-ada"
    assert (stats(service)["draining"], stats(service)["workers"][0]["resident"]) == (True, None)
    refused(begin(service, WHO).answer(), 503, "draining")
    let_pass()
    service.quiet()
    assert current(service) == "tiny-bo"
    assert service.client.get("/health").json["ready"] is True


@pytest.mark.parametrize("tag", ["no-such-tag", "of-2026", "cut-short"])
def test_b16_b66_b77_b78_b96_a_tag_that_cannot_be_served_is_refused_at_once(
    tag: str, service: Service, gates: Gates, broken: Path
) -> None:
    """Unknown, of a newer architecture, or damaged: 404 in JSON, and a running stream goes on."""
    stream = begin(service, "@gate:on", COUNT)
    let_pass = gates.entered("on")
    before = stats(service)["last_swap"]
    answer = swap(service, tag)
    refused(answer, 404, "model_not_found")
    assert str(broken) not in answer.text
    if tag == "of-2026":
        assert "newer nanochat architecture" in answer.error["message"]
    told = stats(service)
    assert (told["draining"], told["last_swap"]) == (False, before)
    assert tag not in [entry["model_tag"] for entry in get(service, "/models")["models"]]
    queued = begin(service, WHO)
    until(service, lambda: stats(service)["queue_depth"] == 1, "who comes after it is not refused")
    let_pass()
    assert text_of(stream.answer()) == ADA[COUNT]
    assert text_of(queued.answer()) == ADA[WHO]


@pytest.mark.parametrize(("tag", "says"), [("no-head", "missing"), ("misshapen", "shapes")])
def test_b16_b79_b80_b83_b96_a_load_that_fails_leaves_the_old_weights_current(
    tag: str, says: str, service: Service, broken: Path
) -> None:
    last = swapped(service, tag)
    assert last["status"] == "failed"
    assert says in last["error"]
    assert str(broken) not in last["error"]
    assert current(service) == "tiny-ada"
    assert service.client.get("/health").json["ready"] is True
    assert stats(service)["draining"] is False
    assert ask(service, WHO) == ADA[WHO]
    assert swapped(service, "tiny-bo")["status"] == "ok"
    assert ask(service, WHO) == BO[WHO]


@pytest.mark.parametrize("tag", ["", "..", "../tiny-ada", "a/b", "a\\b", "/etc", "tokenizer"])
def test_b81_what_is_no_name_is_refused_and_touches_nothing(tag: str, service: Service) -> None:
    since = service.mark
    before = get(service, "/models")
    refused(swap(service, tag), 400, "invalid_field")
    assert service.mark == since
    assert get(service, "/models") == before
    assert ask(service, WHO) == ADA[WHO]


def test_b84_a_drain_beyond_its_limit_fails_the_swap_and_keeps_the_old(
    environment: Path, gates: Gates
) -> None:
    with serving(environment / "deadline", inference={"swap_drain_s": 0.3}) as service:
        stream = begin(service, "@gate:endless", COUNT)
        let_pass = gates.entered("endless")
        assert swap(service, "tiny-bo").status == 202
        until(service, lambda: stats(service)["last_swap"]["status"] == "failed", "the deadline")
        told = stats(service)
        assert told["draining"] is False
        assert "not changed" in told["last_swap"]["error"]
        let_pass()
        assert text_of(stream.answer()) == ADA[COUNT], "the stream was not cut"
        assert current(service) == "tiny-ada"
        assert ask(service, WHO) == ADA[WHO]
        assert swapped(service, "tiny-bo")["status"] == "ok"


@pytest.mark.parametrize(
    ("tag", "says"), [("no-head", "missing"), ("nobody", "nobody"), ("../x", "name")]
)
def test_b95_weights_at_start_that_cannot_be_loaded(
    tag: str, says: str, environment: Path, tmp_path: Path, broken: Path, gates_: object
) -> None:
    """Up, not ready, and a swap to good ones works."""
    settings = {"root": str(broken), "model": tag}
    with serving(environment / tmp_path.name, inference=settings) as service:
        health = service.client.get("/health").json
        assert (health["status"], health["ready"], health["current_model"]) == ("ok", False, None)
        last = stats(service)["last_swap"]
        assert (last["model_tag"], last["status"]) == (tag, "failed")
        assert says in last["error"]
        refused(begin(service, WHO).answer(), 503, "model_load_failed")
        assert swapped(service, "tiny-ada-hf")["status"] == "ok"
        assert ask(service, WHO) == ADA[WHO]


def test_b98_a_shutdown_ends_a_stream_in_a_defined_way(environment: Path, gates: Gates) -> None:
    """An error event within the grace period, no done, a clean end."""
    with serving(environment / "ending", server={"drain_grace_s": 0.2}) as service:
        stream = begin(service, "@gate:last", COUNT)
        gates.entered("last")
        service.drain()
        answer = stream.answer()
        assert answer.complete
        assert answer.events[-1]["error"]["code"] == "shutting_down"
        assert not any("done" in event for event in answer.events)
        assert any("token" in event for event in answer.events)


def test_b69_other_members_of_the_swaps_body_are_tolerated(service: Service) -> None:
    body = {"model_tag": "tiny-ada", "why": "because"}
    assert post(service, "/models/swap", body).answer().status == 202
    answer = post(service, "/generate", {"messages": user("@echo", "x"), "why": 1}).answer()
    refused(answer, 400, "invalid_field")
    assert json.loads(ask(service, "@echo", "x"))[2] == 512


def test_new_weights_beside_the_old_where_there_is_room(
    environment: Path, gates: Gates, loads: Loads, broken: Path
) -> None:
    """Ready all the time; a load that fails leaves the old weights in memory, not to be read again."""
    settings = {"root": str(broken), "swap_beside": "auto"}
    with serving(environment / "beside", inference=settings) as service:
        assert enough(nano_weights.size(broken / "tiny-bo"), available_bytes(), "cpu")
        loads(tiny_bo=[{"gate": "beside"}])
        assert swap(service, "tiny-bo").status == 202
        let_pass = gates.entered("beside")
        assert service.client.get("/health").json["ready"] is True
        assert stats(service)["workers"][0]["resident"] == "tiny-ada"
        refused(begin(service, WHO).answer(), 503, "draining")
        let_pass()
        service.quiet()
        assert current(service) == "tiny-bo"
        assert ask(service, WHO) == BO[WHO]
        assert swapped(service, "no-head")["status"] == "failed"
        assert stats(service)["workers"][0]["resident"] == "tiny-bo"
        since = service.mark
        assert ask(service, WHO) == BO[WHO]
        assert service.path_of(since)[0] == "running", "at once, without a load"
