"""The configuration: where each value comes from, and how a mistake is reported."""

from __future__ import annotations

import os
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from aistack.config import Config, EnginesSection, FakeSection, ServerSection, SlotsSection
from aistack.config.addresses import format_address, parse_address
from aistack.config.legacy import LEGACY
from aistack.config.load import ConfigError, LoadedConfig, default_path, load_config, options
from aistack.config.observability import ObservabilitySection, log_folder, payload_folder
from aistack.config.sample import sample
from aistack.weights.cache import huggingface_cache, modelscope_cache

ROOT = Path(__file__).parents[3]


def read(
    tmp_path: Path, text: str = "", env: dict[str, str] | None = None, **flags: Any
) -> LoadedConfig:
    """Load `text` as the named file, with nothing from the real environment."""
    path = tmp_path / "aistack.toml"
    path.write_text(text, encoding="utf-8")
    return load_config(
        str(path), env or {}, {name.replace("__", "."): value for name, value in flags.items()}
    )


def problems(tmp_path: Path, text: str = "", env: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text, env)
    return caught.value.problems


def test_defaults_without_file_or_environment(tmp_path: Path) -> None:
    loaded = load_config(None, {"XDG_CONFIG_HOME": str(tmp_path), "APPDATA": str(tmp_path)})
    assert loaded == LoadedConfig(Config(), None, ())


def test_each_layer_wins_over_the_one_before(tmp_path: Path) -> None:
    text = "[slots]\nidle_unload_s = 1\nwait_s = 2\nline_max = 3\n"
    env = {"AISTACK_SLOTS__WAIT_S": "20", "AISTACK_SLOTS__LINE_MAX": "30"}
    slots = read(tmp_path, text, env, slots__line_max=300).config.slots
    assert (slots.idle_unload_s, slots.wait_s, slots.line_max) == (1.0, 20.0, 300)
    assert slots.wait_max_s == SlotsSection().wait_max_s


def test_the_file_is_the_named_one_then_the_environments_then_the_users(tmp_path: Path) -> None:
    def write(name: str, seconds: int) -> str:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"[slots]\nwait_s = {seconds}\n")
        return str(path)

    env = {"XDG_CONFIG_HOME": str(tmp_path), "APPDATA": str(tmp_path)}
    write("aistack/aistack.toml", 1)
    assert load_config(None, env).config.slots.wait_s == 1
    assert load_config(None, env).path == default_path(env)
    env["AISTACK_CONFIG"] = write("environment.toml", 2)
    assert load_config(None, env).config.slots.wait_s == 2
    assert load_config(write("named.toml", 3), env).config.slots.wait_s == 3


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"The configuration file .* is not a file\."):
        load_config(str(tmp_path), {})


def test_a_user_without_a_home_has_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container's bare uid: no HOME and no entry among the users. The service starts all the same."""
    pwd = pytest.importorskip("pwd", reason="Windows knows no such users")

    def unknown(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    for name in [name for name in os.environ if name in ("HOME", "XDG_CONFIG_HOME")]:
        monkeypatch.delenv(name)
    assert default_path({}) is None
    loaded = load_config(None, {})
    assert (loaded.path, loaded.config) == (None, Config())
    with pytest.raises(ConfigError, match="does not exist"):
        load_config("~/aistack.toml", {})
    assert str(huggingface_cache({})) == "~/.cache/huggingface/hub"
    assert str(modelscope_cache({})) == "~/.cache/modelscope"


@pytest.mark.parametrize("env", [{}, {"AISTACK_CONFIG": "/nowhere/b.toml"}])
def test_a_named_file_must_exist(tmp_path: Path, env: dict[str, str]) -> None:
    named = None if env else str(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match=r"The configuration file .* does not exist\."):
        load_config(named, env)


VALUES = [
    ("AISTACK_SERVER__API_KEYS", "a, b,,", "server.api_keys", ("a", "b")),
    ("AISTACK_SERVER__API_KEYS", "", "server.api_keys", ()),
    ("AISTACK_SERVER__LISTEN", "0.0.0.0:80,[::1]:81", "server.listen", ("0.0.0.0:80", "[::1]:81")),
    ("AISTACK_SLOTS__IDLE_UNLOAD_S", " 60 ", "slots.idle_unload_s", 60.0),
    ("AISTACK_SLOTS__IDLE_UNLOAD_S", "", "slots.idle_unload_s", 300.0),
    ("AISTACK_SLOTS__LINE_MAX", "0", "slots.line_max", 0),
    ("AISTACK_SLOTS__PRELOAD", "whisper-tiny", "slots.preload", "whisper-tiny"),
    ("AISTACK_WHISPER__BATCHED", "Yes", "whisper.batched", True),
    ("AISTACK_WHISPER__BATCHED", "off", "whisper.batched", False),
    (
        "AISTACK_MODELS__ALIASES",
        "x=auto, y = whisper-tiny",
        "models.aliases",
        {"x": "auto", "y": "whisper-tiny"},
    ),
]


@pytest.mark.parametrize(("name", "text", "where", "value"), VALUES)
def test_environment_values(tmp_path: Path, name: str, text: str, where: str, value: Any) -> None:
    config = read(tmp_path, env={name: text}).config
    section, _, field = where.partition(".")
    assert getattr(getattr(config, section), field) == value


REFUSED_TEXT = [
    (
        "AISTACK_SLOTS__LINE_MAX",
        "3.9",
        "slots.line_max = '3.9' in AISTACK_SLOTS__LINE_MAX: must be a whole number.",
    ),
    ("AISTACK_SLOTS__WAIT_S", "soon", "must be a number."),
    ("AISTACK_SLOTS__WAIT_S", "nan", "must be from 0 to 2592000."),
    (
        "AISTACK_SLOTS__WAIT_S",
        "-1",
        "slots.wait_s = -1.0 in AISTACK_SLOTS__WAIT_S: must be from 0 to 2592000.",
    ),
    ("AISTACK_WHISPER__BATCHED", "maybe", "must be true or false."),
    ("AISTACK_LOG__LEVEL", "loud", "must be one of debug, info, warning, error."),
    ("AISTACK_SERVER__LISTEN", "11500", "must be one or more addresses, such as"),
    ("AISTACK_SERVER__LISTEN", "::1:80", "must be one or more addresses, such as"),
    ("AISTACK_MODELS__ALIASES", "x", "must be pairs separated by commas, like a=b,c=d."),
    ("AISTACK_SLOTS__DEVICES", ",", "must have at least 1 item."),
]


@pytest.mark.parametrize(("name", "text", "message"), REFUSED_TEXT)
def test_environment_refusals(tmp_path: Path, name: str, text: str, message: str) -> None:
    (only,) = problems(tmp_path, env={name: text})
    assert message in only


REFUSED_FILE = [
    (
        "[slots]\nidle_unlod_s = 1",
        "unknown setting slots.idle_unlod_s; did you mean slots.idle_unload_s.",
    ),
    ("[slots]\napi_keys = []", "unknown setting slots.api_keys; did you mean server.api_keys."),
    ("[slot]\nwait_s = 1", "unknown section [slot]; did you mean slots."),
    ("idle_unload_s = 1", "unknown section [idle_unload_s]; did you mean slots.idle_unload_s."),
    ("[zzz]", "unknown section [zzz]."),
    ("slots = 1", "slots must be a table: [slots]."),
    ('[slots]\nline_max = "3"', "slots.line_max = '3' in "),
    ("[slots]\nline_max = true", "must be a whole number."),
    ("[slots]\nline_max = 3.0", "must be a whole number."),
    ("[slots]\nwait_s = 1" + "0" * 400, "must be a number."),
    ("[slots]\nwait_s = inf", "must be from 0 to 2592000."),
    ("[slots]\npreload = 5", "must be a string."),
    ("[whisper]\nbatched = 1", "must be true or false."),
    ('[server]\nlisten = "127.0.0.1:1"', 'must be a list of strings, like ["a", "b"].'),
    ("[models]\naliases = {a = 1}", "must be a table of strings"),
    ("[slots", "is not valid TOML"),
]


@pytest.mark.parametrize(("text", "message"), REFUSED_FILE)
def test_file_refusals_name_the_file(tmp_path: Path, text: str, message: str) -> None:
    (only,) = problems(tmp_path, text)
    assert message in only
    assert "aistack.toml" in only


def test_all_mistakes_are_reported_at_once(tmp_path: Path) -> None:
    found = problems(tmp_path, "[slots]\nwat = 1\nwait_s = -1", {"AISTACK_SLOTS__LINE_MAX": "x"})
    assert len(found) == 3


def test_a_secret_is_shown_nowhere(tmp_path: Path) -> None:
    env = {"AISTACK_SERVER__API_KEYS": "sesame"}
    assert "sesame" not in repr(read(tmp_path, env=env))
    assert "sesame" not in "".join(problems(tmp_path, '[server]\napi_keys = "sesame"'))


def test_unknown_environment_names_are_one_warning_each_without_their_value(tmp_path: Path) -> None:
    env = {
        "AISTACK_PORT": "tcp://10.0.0.1:80",
        "AISTACK_SLOTS_IDLE_UNLOAD_S": "1",
        "AISTACK_CONFIG": "unused, a file is named",
        "OTHER": "x",
    }
    notes = read(tmp_path, env=env).notes
    assert [(note.level, note.fields) for note in notes] == [
        ("warning", {"name": "AISTACK_PORT"}),
        (
            "warning",
            {"name": "AISTACK_SLOTS_IDLE_UNLOAD_S", "did_you_mean": "AISTACK_SLOTS__IDLE_UNLOAD_S"},
        ),
    ]


def test_a_legacy_name_is_honoured_unless_the_new_one_is_set(tmp_path: Path) -> None:
    old = {"AISTACK_MODEL_KEEP_ALIVE_SEC": "7"}
    loaded = read(tmp_path, "[slots]\nidle_unload_s = 1", old)
    assert loaded.config.slots.idle_unload_s == 7
    assert [note.level for note in loaded.notes] == ["info"]
    both = {**old, "AISTACK_SLOTS__IDLE_UNLOAD_S": "8"}
    assert read(tmp_path, env=both).config.slots.idle_unload_s == 8


def test_a_legacy_zero_does_not_become_never(tmp_path: Path) -> None:
    env = {"AISTACK_MODEL_KEEP_ALIVE_SEC": "0"}
    assert read(tmp_path, env=env).config.slots.idle_unload_s == 1


@pytest.mark.parametrize("text", ["soon", "nan"])
def test_an_unreadable_legacy_value_is_a_warning_not_an_end(tmp_path: Path, text: str) -> None:
    loaded = read(tmp_path, env={"AISTACK_MODEL_KEEP_ALIVE_SEC": text})
    assert loaded.config == Config()
    assert [note.level for note in loaded.notes] == ["warning"]


def test_legacy_names_without_effect_are_one_line(tmp_path: Path) -> None:
    idle = sorted(name for name, item in LEGACY.items() if item.target is None)
    (note,) = read(tmp_path, env=dict.fromkeys(idle, "1")).notes
    assert (note.level, note.fields) == ("info", {"names": idle})


def test_legacy_names_of_observability_keep_their_units(tmp_path: Path) -> None:
    old = {
        "AISTACK_OBS_METRICS": "off",
        "AISTACK_OBS_ACCESS_LOG": "0",
        "AISTACK_OBS_PAYLOAD": "yes",
        "AISTACK_OBS_LOG_DIR": "logs",
        "AISTACK_OBS_PAYLOAD_DIR": "captures",
        "AISTACK_OBS_PAYLOAD_MAX_GB": "0.5",
        "AISTACK_OBS_PAYLOAD_MAX_DAYS": "0",
        "AISTACK_OBS_PAYLOAD_RESP_MAX_MB": "1.5",
        "AISTACK_OBS_METRICS_WINDOW_MIN": "10",
    }
    loaded = read(tmp_path, env=old)
    assert {note.level for note in loaded.notes} == {"info"}
    assert loaded.config.observability == ObservabilitySection(
        metrics=False,
        access_log=False,
        payload=True,
        log_dir="logs",
        payload_dir="captures",
        payload_max_bytes=512 * 1024**2,
        payload_max_days=1,
        payload_response_max_bytes=1536 * 1024,
        metrics_window_s=600.0,
    )
    assert {name for name in LEGACY if "_OBS_" in name} == set(old)


UNSET = ObservabilitySection()


@pytest.mark.parametrize("text", ["much", "inf", "nan", "-1"])
def test_an_impossible_legacy_size_is_a_warning(tmp_path: Path, text: str) -> None:
    loaded = read(tmp_path, env={"AISTACK_OBS_PAYLOAD_MAX_GB": text})
    assert loaded.config == Config()
    assert [note.level for note in loaded.notes] == ["warning"]


@pytest.mark.parametrize(
    ("section", "environ", "logs", "captures"),
    [
        (UNSET, {"XDG_STATE_HOME": "/s"}, "/s/aistack/logs", "/s/aistack/captures"),
        (UNSET, {"XDG_STATE_HOME": "/s", "HF_HOME": "/m/hf"}, "/s/aistack/logs", "/m/aistack_captures"),
        (ObservabilitySection(log_dir="l", payload_dir="p"), {"HF_HOME": "/m/hf"}, "l", "p"),
    ],
)
@pytest.mark.skipif(sys.platform == "win32", reason="paths of POSIX systems")
def test_where_logs_and_captures_go(
    section: ObservabilitySection, environ: dict[str, str], logs: str, captures: str
) -> None:
    assert str(log_folder(section, environ)) == logs
    assert str(payload_folder(section, environ)) == captures


def test_a_user_without_a_home_is_no_reason_not_to_start(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", nowhere)
    assert log_folder(ObservabilitySection(), {}) == Path("aistack", "logs")


def test_legacy_targets_exist() -> None:
    known = {option.path for option in options()}
    assert {item.target for item in LEGACY.values() if item.target} <= known


def test_rules_hold_for_code_too() -> None:
    with pytest.raises(ValueError, match="idle_unload_s must be from 0 to"):
        SlotsSection(idle_unload_s=-1)
    with pytest.raises(ValueError, match="listen must be one or more addresses"):
        ServerSection(listen=())
    with pytest.raises(ValueError, match="spare must be one of auto, on, off"):
        evolve(EnginesSection(), spare="yes")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="kill_after_s must be from 0 to"):
        FakeSection(kill_after_s=-1)


def test_every_setting_has_its_sentence() -> None:
    assert not [o.path for o in options() if not o.field.sentence.endswith((".", "..."))]


def test_every_default_keeps_its_rule() -> None:
    Config()


def test_the_committed_sample_is_current() -> None:
    committed = (ROOT / "docs/operating/aistack.sample.toml").read_text(encoding="utf-8")
    assert committed == sample(), "run: aistack sample-config > docs/operating/aistack.sample.toml"


def test_the_sample_with_its_marks_removed_is_the_defaults(tmp_path: Path) -> None:
    lines = [
        line[1:] if line.startswith("#") and not line.startswith("# ") and line != "#" else line
        for line in sample().splitlines()
    ]
    document = tomllib.loads("\n".join(lines))
    assert sum(len(table) for table in document.values()) == sum(o.section != "fake" for o in options())
    assert read(tmp_path, "\n".join(lines)).config == Config()


@pytest.mark.parametrize("text", ["127.0.0.1:11500", "localhost:0", "[::1]:80"])
def test_addresses_round_trip(text: str) -> None:
    assert format_address(*parse_address(text)) == text


@pytest.mark.parametrize("text", ["", "localhost", ":80", "a:65536", "a:-1", "a:x", "a:1²", "[]:1"])
def test_bad_addresses(text: str) -> None:
    with pytest.raises(ValueError, match="not an address"):
        parse_address(text)


@pytest.mark.parametrize("section", ["ollama", "qwen_tts"])
def test_an_upstream_shares_a_card_that_is_there(section: str) -> None:
    env = {"AISTACK_SLOTS__DEVICES": "cuda:0,cuda:1", f"AISTACK_{section.upper()}__DEVICE": "cuda:7"}
    with pytest.raises(ConfigError) as refused:
        load_config(None, env)
    (problem,) = refused.value.problems
    assert problem.startswith(f"{section}.device = 'cuda:7'")
    assert "cuda:0, cuda:1" in problem
    env[f"AISTACK_{section.upper()}__DEVICE"] = "cuda:1"
    assert getattr(load_config(None, env).config, section).device == "cuda:1"
