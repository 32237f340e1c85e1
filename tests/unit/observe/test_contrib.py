"""The dashboard, the alert rules and the lnav formats name only what there is."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser as promql
import pytest
import yaml

from aistack.config.observability import ObservabilitySection
from aistack.observe import access_log
from aistack.observe.job_line import done_fields
from aistack.observe.observability import Observability
from aistack.observe.prometheus import Exposition, MetricFamily
from aistack.observe.wiring import exposition
from aistack.run.runner import Runner
from aistack.run.scheduler import Scheduler
from aistack.web.internal.stats import GenerationFigures
from tests.unit.jobs import build as b
from tests.unit.jobs.build import WHISPER
from tests.unit.observe.story import Story, exchange
from tests.unit.observe.test_job_metrics import transcription

CONTRIB = Path(__file__).resolve().parents[3] / "contrib"
DASHBOARD = json.loads((CONTRIB / "grafana" / "aistack.json").read_text())
RULES = yaml.safe_load((CONTRIB / "grafana" / "alerts.yaml").read_text())["groups"][0]["rules"]
LNAV = json.loads((CONTRIB / "lnav" / "aistack.json").read_text())
PROMETHEUS_OWN = {"up": {"job", "instance"}}
"""What Prometheus itself knows of a target."""


@pytest.fixture
async def metrics(tmp_path: Path) -> dict[str, set[str]]:
    """Every sample name of the assembled exposition, with its labels."""
    settings = ObservabilitySection(log_dir=str(tmp_path), payload_dir=str(tmp_path))
    scheduler = Scheduler(b.service(WHISPER))
    runner = Runner(scheduler.post, scheduler.ready, lambda *_: None, {})  # type: ignore[arg-type]
    told = GenerationFigures().answer
    shown = exposition(Observability(settings), scheduler, runner, told)
    return await names(shown)


async def names(shown: Exposition) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for source in (*shown.quick.values(), *shown.slow.values()):
        for family in source():
            found |= dict(of_family(family))
    body, _ = await shown.scrape()
    for name in re.findall(r"^# TYPE (\S+)", body.decode(), re.MULTILINE):
        found.setdefault(name, {"source"} if name.startswith("aistack_scrape") else set())
    for name in found:
        found[name] |= {"job", "instance"}
    return found | PROMETHEUS_OWN


def of_family(family: MetricFamily) -> Iterator[tuple[str, set[str]]]:
    match family.kind:
        case "counter":
            yield f"{family.name}_total", set(family.labels)
        case "histogram":
            yield f"{family.name}_bucket", {*family.labels, "le"}
            yield f"{family.name}_sum", set(family.labels)
            yield f"{family.name}_count", set(family.labels)
        case _:
            yield family.name, set(family.labels)


def queries() -> list[tuple[str, str, str]]:
    """Where it stands, the query, and the legend or texts that use its labels."""
    found = [
        (panel["title"], target["expr"], target["legendFormat"])
        for panel in DASHBOARD["panels"]
        for target in panel.get("targets", ())
    ]
    return found + [
        (rule["alert"], rule["expr"], " ".join(rule["annotations"].values())) for rule in RULES
    ]


def parsed(text: str) -> Any:
    """The query's tree, with Grafana's variable for a range replaced."""
    return promql.parse(text.replace("$__rate_interval", "5m"))


def selectors(node: Any) -> Iterator[Any]:
    """Every vector selector in a query."""
    if isinstance(node, promql.VectorSelector):
        yield node
    for part in ("expr", "lhs", "rhs", "vector_selector", "args", "param"):
        below = getattr(node, part, None)
        for child in below if isinstance(below, list) else [below]:
            if child is not None and not isinstance(child, str):
                yield from selectors(child)


def grouped(node: Any) -> Iterator[str]:
    """Every label that an aggregation or a matching names."""
    modifier = getattr(node, "modifier", None)
    for holder in (modifier, getattr(modifier, "matching", None)):
        yield from getattr(holder, "labels", None) or ()
    for part in ("expr", "lhs", "rhs", "args"):
        below = getattr(node, part, None)
        for child in below if isinstance(below, list) else [below]:
            if child is not None and not isinstance(child, str):
                yield from grouped(child)


@pytest.mark.parametrize(("where", "query", "text"), queries())
def test_a_query_names_only_what_there_is(
    metrics: dict[str, set[str]], where: str, query: str, text: str
) -> None:
    tree = parsed(query)
    found = list(selectors(tree))
    assert found, "a query without a metric"
    known: set[str] = set()
    for selector in found:
        assert selector.name in metrics, f"{where}: there is no metric {selector.name}"
        known |= metrics[selector.name]
        used = {matcher.name for matcher in selector.matchers.matchers}
        assert used <= metrics[selector.name], where
    labels = {*grouped(tree), *re.findall(r"\{\{\s*(?:\$labels\.)?(\w+)\s*\}\}", text)}
    assert labels <= known, where


def test_every_metric_is_told_in_the_page(metrics: dict[str, set[str]]) -> None:
    page = (CONTRIB.parent / "docs" / "operating" / "observability.md").read_text()
    told = set(re.findall(r"`(\w+)`", page))
    ours = {re.sub(r"_(bucket|sum|count)$", "", name) for name in metrics}
    ours = {name for name in ours if not name.startswith(("process_", "up"))}
    assert {name for name in ours if name not in told} == set()
    named = {name for name in told if name.startswith("aistack_") and name != "aistack_access"}
    assert named <= ours


def test_an_unknown_name_would_be_seen() -> None:
    tree = parsed("sum by (le, wrong) (rate(no_such_metric_bucket{x='y'}[$__rate_interval])) / up")
    assert [selector.name for selector in selectors(tree)] == ["no_such_metric_bucket", "up"]
    assert set(grouped(tree)) == {"le", "wrong"}


def test_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {
            (x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])
        }
        assert at["x"] + at["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)


# --- lnav ---------------------------------------------------------------------------------------------

KINDS = {"string", "integer", "float", "boolean", "json", "quoted", "struct"}


def matches(form: dict[str, Any], line: dict[str, Any]) -> None:
    """lnav can read the line: time and level are found, and every value is of its declared kind."""
    time, level = line[form["timestamp-field"]], str(line[form["level-field"]])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", time)
    assert [name for name, pattern in form["level"].items() if re.search(pattern, level)]
    types: dict[str, Any] = {"string": str, "integer": int, "float": (int, float), "json": dict}
    for name, value in line.items():
        if value is not None and name in form["value"]:
            assert isinstance(value, types[form["value"][name]["kind"]]), name


@pytest.mark.parametrize("name", ["aistack_access", "aistack_log"])
def test_the_format_is_whole(name: str) -> None:
    form = LNAV[name]
    assert form["json"] is True
    assert all(value["kind"] in KINDS for value in form["value"].values())
    shown = [part["field"] for part in form["line-format"] if isinstance(part, dict)]
    assert {field for field in shown if not field.startswith("__")} <= set(form["value"])
    for key in ("timestamp-field", "level-field", "opid-field"):
        assert form[key] in form["value"]


@pytest.mark.parametrize("status", [200, 404, 499, 503])
def test_access_lines_fit_their_format(status: int) -> None:
    line = access_log.fields(exchange(status=status, query="a=b"))
    form = LNAV["aistack_access"]
    assert set(form["value"]) == set(line)
    matches(form, line)
    assert re.fullmatch(form["file-pattern"], "access-2026-09-15.jsonl")


def test_process_lines_fit_their_format() -> None:
    done: list[dict[str, Any]] = []

    def note(transition: Any) -> None:
        if transition.target.value == "done":
            done.append(done_fields(transition))

    transcription(Story(b.service(WHISPER), [note]))
    first = {"timestamp": "2026-09-15T00:00:00.123456Z", "level": "info", "service": "aistack"}
    (fields,) = done
    matches(LNAV["aistack_log"], first | {"message": "job.done"} | fields)
    times = {name for name in fields if name.endswith("_s")}
    assert times <= set(LNAV["aistack_log"]["value"])
