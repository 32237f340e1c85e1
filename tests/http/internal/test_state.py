"""`/health`, `/models` and `/stats`: what they tell, to whom, and that they agree."""

from __future__ import annotations

import threading
from functools import partial
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.http.gateway.service import Gates, Service
from tests.http.internal.talk import (
    ADA,
    AUTH,
    BO,
    COUNT,
    ROOT,
    WHO,
    ask,
    begin,
    current,
    get,
    stats,
    swap,
    swapped,
    until,
)


def test_b1_b2_b4_health_with_weights(service: Service) -> None:
    """Open to everybody, and it says which tag answers."""
    answer = service.client.get("/health")
    assert (answer.status, answer.headers["content-type"].split(";")[0]) == (200, "application/json")
    told = answer.json
    assert type(told["status"]) is str
    assert told["ready"] is True
    assert told["current_model"] == "tiny-ada"
    assert set(told) == {"status", "version", "ready", "current_model"}, "the pool is behind the key"


def test_b5_health_answers_while_a_generation_runs(service: Service, gates: Gates) -> None:
    """By the order of events: the generation stands still in the middle, and is asked about."""
    call = begin(service, "@gate:mid", COUNT)
    let_pass = gates.entered("mid")
    for _ in range(20):
        told = service.client.get("/health").json
        assert (told["ready"], told["current_model"]) == (True, "tiny-ada")
    let_pass()
    assert call.answer().events[-1] == {"done": True}


def test_b61_b62_b63_the_list_with_weights_loaded(service: Service, root: Path) -> None:
    told = get(service, "/models")
    assert told["current_model"] == "tiny-ada"
    for entry in told["models"]:
        assert {name: type(value) for name, value in entry.items()} == {
            "model_tag": str,
            "source": str,
            "path": str,
            "loaded": bool,
        }
        assert Path(entry["path"]) == root / entry["model_tag"]
    assert [entry["model_tag"] for entry in told["models"] if entry["loaded"]] == ["tiny-ada"]


def test_b64_the_list_is_sorted_and_new_directories_appear(service: Service, root: Path) -> None:
    before = [entry["model_tag"] for entry in get(service, "/models")["models"]]
    new = root / "brand-new"
    new.symlink_to(ROOT / "tiny-bo", target_is_directory=True)
    try:
        tags = [entry["model_tag"] for entry in get(service, "/models")["models"]]
    finally:
        new.unlink()
    assert tags == sorted([*before, "brand-new"])
    assert get(service, "/models")["models"] == [
        entry for entry in get(service, "/models")["models"] if entry["model_tag"] != "brand-new"
    ]


def test_b85_b86_b87_b89_the_pool(service: Service, gates: Gates) -> None:
    idle = stats(service)
    assert (idle["total_workers"], idle["busy_workers"], idle["available_workers"]) == (1, 0, 1)
    assert idle["workers"] == [
        {"gpu_id": 0, "device": "cpu", "model_tag": "tiny-ada", "resident": "tiny-ada"}
    ]
    call = begin(service, "@gate:busy", COUNT)
    let_pass = gates.entered("busy")
    busy = stats(service)
    assert (busy["total_workers"], busy["busy_workers"], busy["available_workers"]) == (1, 1, 0)
    assert (busy["active_generations"], busy["draining"]) == (1, False)
    let_pass()
    call.answer()
    service.quiet()
    after = stats(service)
    assert (after["busy_workers"], after["available_workers"], after["active_generations"]) == (0, 1, 0)


def test_b72_all_agree_on_the_new_tag_and_generate_too(service: Service) -> None:
    assert swapped(service, "tiny-bo-hf")["status"] == "ok"
    assert current(service) == "tiny-bo-hf"
    told = stats(service)
    assert [worker["model_tag"] for worker in told["workers"]] == ["tiny-bo-hf"]
    assert [worker["resident"] for worker in told["workers"]] == ["tiny-bo-hf"]
    assert told["model_load_seconds"] > 0
    assert [e["model_tag"] for e in get(service, "/models")["models"] if e["loaded"]] == ["tiny-bo-hf"]
    assert ask(service, WHO) == BO[WHO]
    assert swapped(service, "tiny-ada")["status"] == "ok"
    assert ask(service, WHO) == ADA[WHO]


def test_b100_probes_lists_swaps_and_answers_side_by_side(service: Service) -> None:
    """From several threads at once; afterwards the service is as usable as before."""
    wrong: list[object] = []
    over = threading.Event()

    def look(path: str) -> None:
        while not over.wait(0.01):
            answer = service.client.get(path, AUTH)
            if answer.status != 200:
                wrong.append((path, answer.status, answer.text))

    def talk() -> None:
        while not over.wait(0.01):
            answer = begin(service, WHO).answer()
            if answer.status == 200:
                text = "".join(event.get("token", "") for event in answer.events)
                if answer.events[-1] != {"done": True} or text not in (ADA[WHO], BO[WHO]):
                    wrong.append(answer.text)
            elif answer.error["code"] != "draining":
                wrong.append(answer.text)

    def ended(swap: dict[str, Any]) -> bool:
        return bool(stats(service)["last_swap"] == swap)

    work = [threading.Thread(target=look, args=(path,)) for path in ("/health", "/models", "/stats")]
    work += [threading.Thread(target=talk) for _ in range(2)]
    for thread in work:
        thread.start()
    try:
        for tag in ("tiny-bo", "tiny-ada"):
            assert swap(service, tag).status == 202
            done = {"model_tag": tag, "status": "ok", "error": None}
            until(service, partial(ended, done), f"{tag} is current")
    finally:
        over.set()
        for thread in work:
            thread.join(30)
    assert not any(thread.is_alive() for thread in work)
    assert wrong == []
    assert ask(service, WHO) == ADA[WHO]


def scraped(service: Service) -> dict[str, float]:
    """The samples of `/metrics` that have no labels, by name."""
    answer = service.client.get("/metrics")
    assert answer.status == 200
    families = text_string_to_metric_families(answer.text)
    return {
        sample.name: sample.value for each in families for sample in each.samples if not sample.labels
    }


def test_the_figures_by_the_names_that_dashboards_know(service: Service, gates: Gates) -> None:
    before = scraped(service)
    call = begin(service, "@gate:seen", COUNT)
    let_pass = gates.entered("seen")
    during = scraped(service)
    assert (during["workers_total"], during["workers_busy"], during["workers_available"]) == (1, 1, 0)
    assert during["active_generations"] == 1
    let_pass()
    call.answer()
    service.quiet()
    after = scraped(service)
    assert after["inference_duration_seconds_count"] == before["inference_duration_seconds_count"] + 1
    assert after["inference_duration_seconds_sum"] > before["inference_duration_seconds_sum"]
    assert after["tokens_generated_total"] == stats(service)["tokens_generated_total"]
    assert after["tokens_generated_total"] > before["tokens_generated_total"]
    assert (after["workers_busy"], after["active_generations"]) == (0, 0)
