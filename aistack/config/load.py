"""Reads the configuration: defaults, then the file, then the environment, then the command line.

Each mistake is one sentence that names the setting, where the value came from, and what is allowed; all
mistakes are reported at once. The value is shown unless the setting is a secret.

Why not typed-settings, which reads the same layers: its messages show the values of secrets, it has
no suggestion for a misspelt name, and it turns `3.9` into 3 and `5` into "5" silently. With those
replaced, only the merging of dicts was left of it.
"""

from __future__ import annotations

import difflib
import os
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from attrs import field, frozen

from aistack.config import Config
from aistack.config.checks import conflicts
from aistack.config.legacy import LEGACY, LegacyVariable
from aistack.config.section import Section, broken_limit
from aistack.config.values import Unfit, expected, from_text, from_toml
from aistack.contract.fields import AnnotatedField, annotated_fields

PREFIX = "AISTACK_"
FILE_NAME = "AISTACK_CONFIG"
NOT_SETTINGS = frozenset({FILE_NAME, "AISTACK_FAKE_LOADS", "AISTACK_FAKE_GATES"})
"""Variables with the prefix that are not settings."""


class ConfigError(Exception):
    """The configuration cannot be used; `problems` are plain sentences."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@frozen
class Note:
    """Something to log once logging is set up."""

    level: Literal["info", "warning"]
    message: str
    fields: Mapping[str, object] = field(factory=dict)


@frozen
class LoadedConfig:
    """The configuration, the file it came from (None if there was none), and what to log."""

    config: Config
    path: Path | None
    notes: tuple[Note, ...]


@frozen
class Option:
    """One setting: the name of its section, and its field there."""

    section: str
    field: AnnotatedField

    @property
    def path(self) -> str:
        return f"{self.section}.{self.field.name}"

    @property
    def env(self) -> str:
        return f"{PREFIX}{self.section.upper()}__{self.field.name.upper()}"


def sections() -> dict[str, type[Section]]:
    """The section classes by their names."""
    return {each.name: each.kind for each in annotated_fields(Config)}


def options() -> Iterator[Option]:
    """All settings, in order."""
    for name, cls in sections().items():
        for each in annotated_fields(cls):
            yield Option(name, each)


def default_path(env: Mapping[str, str]) -> Path | None:
    """The file that is read if none is named; None for a user without a home directory."""
    windows = sys.platform == "win32"
    named = env.get("APPDATA" if windows else "XDG_CONFIG_HOME")
    try:
        base = Path(named or Path.home() / ("AppData/Roaming" if windows else ".config"))
    except RuntimeError:  # neither HOME nor an entry among the users: a container's bare uid
        return None
    return base / "aistack" / "aistack.toml"


def load_config(
    path: str | None = None,
    env: Mapping[str, str] | None = None,
    flags: Mapping[str, object] | None = None,
) -> LoadedConfig:
    """Read everything once.

    `path` is the file named on the command line, `flags` are its settings as `section.field` with
    values of the right type. Raises ConfigError.
    """
    return _Reading(os.environ if env is None else env).load(path, flags or {})


class _Reading:
    """One reading: values by setting, later layers over earlier ones, and what went wrong."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self.env = env
        self.options = {option.path: option for option in options()}
        self.values: dict[str, object] = {}
        self.problems: list[str] = []
        self.notes: list[Note] = []

    def load(self, named: str | None, flags: Mapping[str, object]) -> LoadedConfig:
        path = self.find(named)
        if path is not None:
            self.read_file(path)
        self.read_environment()
        for name, value in flags.items():
            self.put(self.options[name], value, "the command line")
        if self.problems:
            raise ConfigError(self.problems)
        config = self.build()
        contradictions = list(conflicts(config))
        if contradictions:
            raise ConfigError(contradictions)
        return LoadedConfig(config, path, tuple(self.notes))

    def build(self) -> Config:
        parts: dict[str, Any] = {}
        for name, cls in sections().items():
            prefix = f"{name}."
            given = {k.removeprefix(prefix): v for k, v in self.values.items() if k.startswith(prefix)}
            parts[name] = cls(**given)
        return Config(**parts)

    def put(self, option: Option, value: object, source: str) -> None:
        """Take a value of the right type, if it keeps to the setting's limits."""
        broken = broken_limit(option.field, value)
        if broken is not None:
            self.refuse(option, value, source, broken.must)
        else:
            self.values[option.path] = value

    def refuse(self, option: Option, value: object, source: str, must: str) -> None:
        shown = repr(value) if option.field.attribute.repr else "(not shown)"
        self.problems.append(f"{option.path} = {shown} in {source}: must {must}.")

    # --- the file ------------------------------------------------------------------------------------

    def find(self, named: str | None) -> Path | None:
        """The file to read: a named one must exist, the default one need not."""
        if named or self.env.get(FILE_NAME):
            path = Path(os.path.expanduser(named or self.env[FILE_NAME]))
            if not path.is_file():
                what = "is not a file" if path.exists() else "does not exist"
                raise ConfigError([f"The configuration file {path} {what}."])
            return path
        usual = default_path(self.env)
        return usual if usual is not None and usual.is_file() else None

    def read_file(self, path: Path) -> None:
        try:
            document = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as exc:
            raise ConfigError(
                [f"The configuration file {path} cannot be read: {exc.strerror}."]
            ) from exc
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
            raise ConfigError([f"The configuration file {path} is not valid TOML: {exc}."]) from exc
        known = sections()
        for section, table in document.items():
            if section not in known:
                self.problems.append(f"{path}: unknown section [{section}]{self.hint(section)}.")
            elif not isinstance(table, dict):
                self.problems.append(f"{path}: {section} must be a table: [{section}].")
            else:
                self.read_table(path, section, table)

    def read_table(self, path: Path, section: str, table: Mapping[str, object]) -> None:
        for name, value in table.items():
            option = self.options.get(f"{section}.{name}")
            if option is None:
                hint = self.hint(f"{section}.{name}")
                self.problems.append(f"{path}: unknown setting {section}.{name}{hint}.")
                continue
            try:
                self.put(option, from_toml(option.field.kind, value), str(path))
            except Unfit:
                must = f"be {expected(option.field.kind, toml=True)}"
                self.refuse(option, value, str(path), must)

    def hint(self, name: str) -> str:
        """`; did you mean ...` for an unknown name, or nothing."""
        section, _, setting = name.partition(".")
        near = [path for path in self.options if path.endswith(f".{setting or section}")]
        if not near:
            near = difflib.get_close_matches(name, self.options if setting else sections(), 1, 0.7)
        return f"; did you mean {near[0]}" if near else ""

    # --- the environment -----------------------------------------------------------------------------

    def read_environment(self) -> None:
        by_env = {option.env: option for option in self.options.values()}
        idle: list[str] = []
        for name in sorted(self.env):
            if not name.startswith(PREFIX) or name in NOT_SETTINGS:
                continue
            if name in by_env:
                self.read_variable(by_env[name], self.env[name])
            elif name not in LEGACY:
                near = difflib.get_close_matches(name, by_env, 1, 0.8)
                hint = {"did_you_mean": near[0]} if near else {}
                self.notes.append(
                    Note("warning", "unknown environment variable ignored", {"name": name, **hint})
                )
            elif LEGACY[name].target is None:
                idle.append(name)
            else:
                self.read_legacy(LEGACY[name], self.env[name])
        if idle:
            self.notes.append(
                Note("info", "environment variables without effect in this version", {"names": idle})
            )

    def read_variable(self, option: Option, text: str) -> None:
        """An empty number counts as not set: compose files pass on empty defaults."""
        if not text.strip() and option.field.kind in (int, float, bool):
            return
        try:
            self.put(option, from_text(option.field.kind, text), option.env)
        except Unfit:
            self.refuse(option, text, option.env, f"be {expected(option.field.kind)}")

    def read_legacy(self, legacy: LegacyVariable, text: str) -> None:
        """The new name wins over the old one; the value of an old one never stops the service."""
        option = self.options[str(legacy.target)]
        if option.env in self.env:
            return
        try:
            value = legacy.convert(from_text(legacy.kind or option.field.kind, text))
        except (ValueError, OverflowError):  # Unfit, or a number such as "inf" that cannot be converted
            fits = False
        else:
            fits = broken_limit(option.field, value) is None
        if fits:
            self.values[option.path] = value
            self.notes.append(
                Note("info", "old environment variable used", {"name": legacy.name, "now": option.env})
            )
        else:
            self.notes.append(
                Note(
                    "warning",
                    "old environment variable ignored: its value is not valid",
                    {"name": legacy.name, "now": option.env},
                )
            )
