"""Reads the configuration: defaults, then the file, then the environment, then the command line.

A mistake is told in one sentence that names the setting, where the value came from, and what is
allowed; all mistakes are told at once. The value itself is shown unless the setting is a secret.

Why not typed-settings, which reads the same layers: its messages show the values of secrets, it has
no suggestion for a misspelt name, turns `3.9` into 3 and `5` into "5" silently, and splits lists at
colons, which addresses are full of. With those replaced, only the merging of dicts was left of it.
"""

from __future__ import annotations

import difflib
import os
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_type_hints

import attrs
from attrs import field, frozen

from aistack.config import Config
from aistack.config.checks import conflicts
from aistack.config.legacy import LEGACY, Legacy
from aistack.config.rules import Rule
from aistack.config.values import Unfit, from_text, from_toml, wanted

PREFIX = "AISTACK_"
FILE_NAME = "AISTACK_CONFIG"
NOT_SETTINGS = frozenset({FILE_NAME, "AISTACK_FAKE_LOADS", "AISTACK_FAKE_GATES"})
"""Names of ours that are not settings."""


class ConfigError(Exception):
    """The configuration cannot be used; `problems` are plain sentences."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@frozen
class Note:
    """Something to log once logging is set up; `level` is "info" or "warning"."""

    level: str
    message: str
    fields: Mapping[str, Any] = field(factory=dict)


@frozen
class LoadedConfig:
    """The configuration, the file it came from (none: there was none), and what to log."""

    config: Config
    path: Path | None
    notes: tuple[Note, ...]


@frozen
class Option:
    """One setting: its section, its attrs field and its resolved type."""

    section: str
    attribute: attrs.Attribute[Any]
    type: Any

    @property
    def path(self) -> str:
        return f"{self.section}.{self.attribute.name}"

    @property
    def env(self) -> str:
        return f"{PREFIX}{self.section.upper()}__{self.attribute.name.upper()}"

    @property
    def rule(self) -> Rule | None:
        return self.attribute.validator if isinstance(self.attribute.validator, Rule) else None


def sections() -> dict[str, type]:
    """The section classes by their names."""
    hints = get_type_hints(Config)
    return {item.name: hints[item.name] for item in attrs.fields(Config)}


def options() -> Iterator[Option]:
    """Every setting there is, in order."""
    for name, cls in sections().items():
        hints = get_type_hints(cls)
        for item in attrs.fields(cls):
            yield Option(name, item, hints[item.name])


def default_path(env: Mapping[str, str]) -> Path | None:
    """Where the file is looked for when nobody names one; none for a user without a home."""
    windows = sys.platform == "win32"
    named = env.get("APPDATA" if windows else "XDG_CONFIG_HOME")
    try:
        base = Path(named or Path.home() / ("AppData/Roaming" if windows else ".config"))
    except RuntimeError:  # neither HOME nor an entry among the users: a container's bare uid
        return None
    return base / "aistack" / "aistack.toml"


def load(
    path: str | None = None,
    env: Mapping[str, str] | None = None,
    flags: Mapping[str, Any] | None = None,
) -> LoadedConfig:
    """Read everything once.

    `path` is the file named on the command line, `flags` are its settings as `section.field` with
    values of the right type. Raises ConfigError.
    """
    return _Reading(os.environ if env is None else env).load(path, flags or {})


class _Reading:
    """One reading: values by option, later layers over earlier ones, and what went wrong."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self.env = env
        self.options = {option.path: option for option in options()}
        self.values: dict[str, Any] = {}
        self.problems: list[str] = []
        self.notes: list[Note] = []

    def load(self, named: str | None, flags: Mapping[str, Any]) -> LoadedConfig:
        path = self.find(named)
        if path is not None:
            self.read_file(path)
        self.read_environment()
        for name, value in flags.items():
            self.put(self.options[name], value, "the command line")
        if self.problems:
            raise ConfigError(self.problems)
        config = self.build()
        against = list(conflicts(config))
        if against:
            raise ConfigError(against)
        return LoadedConfig(config, path, tuple(self.notes))

    def build(self) -> Config:
        parts: dict[str, Any] = {}
        for name, cls in sections().items():
            prefix = f"{name}."
            given = {k.removeprefix(prefix): v for k, v in self.values.items() if k.startswith(prefix)}
            parts[name] = cls(**given)
        return Config(**parts)

    def put(self, option: Option, value: Any, source: str) -> None:
        """Take a value of the right type, if it keeps the option's rule."""
        if option.rule is not None and not option.rule.fits(value):
            self.refuse(option, value, source, option.rule.allowed)
        else:
            self.values[option.path] = value

    def refuse(self, option: Option, value: Any, source: str, allowed: str) -> None:
        shown = repr(value) if option.attribute.repr else "(not shown)"
        self.problems.append(f"{option.path} = {shown} in {source}: must be {allowed}.")

    # --- the file ------------------------------------------------------------------------------------

    def find(self, named: str | None) -> Path | None:
        """The file to read: a named one must exist, the default one may."""
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
                self.problems.append(f"{path}: there is no section [{section}]{self.hint(section)}.")
            elif not isinstance(table, dict):
                self.problems.append(f"{path}: {section} must be a table: [{section}].")
            else:
                self.read_table(path, section, table)

    def read_table(self, path: Path, section: str, table: Mapping[str, Any]) -> None:
        for name, value in table.items():
            option = self.options.get(f"{section}.{name}")
            if option is None:
                hint = self.hint(f"{section}.{name}")
                self.problems.append(f"{path}: there is no setting {section}.{name}{hint}.")
                continue
            try:
                self.put(option, from_toml(option.type, value), str(path))
            except Unfit:
                self.refuse(option, value, str(path), wanted(option.type, toml=True))

    def hint(self, name: str) -> str:
        """`; did you mean ...?` for a name nobody knows, or nothing."""
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
        """An empty number counts as not set: compose files pass empty defaults on."""
        if not text.strip() and option.type in (int, float, bool):
            return
        try:
            self.put(option, from_text(option.type, text), option.env)
        except Unfit:
            self.refuse(option, text, option.env, wanted(option.type))

    def read_legacy(self, legacy: Legacy, text: str) -> None:
        """An old name gives way to the new one; a value it could not read never stopped the service."""
        option = self.options[str(legacy.target)]
        if option.env in self.env:
            return
        try:
            value = legacy.convert(from_text(legacy.kind or option.type, text))
        except (ValueError, OverflowError):  # Unfit, or a number such as "inf" that cannot be converted
            fits = False
        else:
            fits = option.rule is None or option.rule.fits(value)
        if fits:
            self.values[option.path] = value
            self.notes.append(
                Note("info", "old environment name honoured", {"name": legacy.name, "now": option.env})
            )
        else:
            self.notes.append(
                Note(
                    "warning",
                    "old environment name ignored: its value cannot be used",
                    {"name": legacy.name, "now": option.env},
                )
            )
