"""A model name, a language hint, a task and what is installed -> who serves it. Pure.

Read `choose`: a name is resolved to one engine and model, or `auto` walks the candidates from the
preferred one down. `Facts` are gathered by run/inventory; only `fetchable` costs a network probe,
and `depends_on_hub` says whether it matters for a request at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from attrs import evolve, field, frozen

from aistack.chunks import Vram
from aistack.engines.base import ModelCard
from aistack.errors import BackendFault, Code, Fault, malformed, unknown_model
from aistack.jobs.model import Route
from aistack.weights.whisper_sizes import SIZES

AUTO = "auto"


SHORT = {"large": "large-v3", "turbo": "large-v3-turbo"}

WHISPER_PREFIX = "whisper-"
WHISPER_SMALL = "whisper-small"

STAND_INS = ("medium", "large-v3-turbo", "large-v3", "base", "large-v2", "large-v1", "tiny")
"""Multilingual sizes that serve `auto`, best first, when only they lie on the disk."""

_WHISPER_CODES = (
    "af am ar as az ba be bg bn bo br bs ca cs cy da de el en es et eu fa fi fo fr gl gu ha haw he hi "
    "hr ht hu hy id is it ja jw ka kk km kn ko la lb ln lo lt lv mg mi mk ml mn mr ms mt my ne nl nn no "
    "oc pa pl ps pt ro ru sa sd si sk sl sn so sq sr su sv sw ta te tg th tk tl tr tt uk ur uz vi yi yo "
    "yue zh"
)
_PARAKEET_CODES = "en bg hr cs da nl et fi fr de el hu it lv lt mt pl pt ro sk sl es sv ru uk"

UNTAUGHT = frozenset({"large-v3-turbo"})
"""Multilingual sizes that were never taught to translate: they answer in the language they hear."""

LANGUAGES = frozenset(_WHISPER_CODES.split())
"""Primary subtags that count as a hint: those of Whisper, which cover all other engines'."""

PREFERRED: Mapping[str, str] = dict.fromkeys(_PARAKEET_CODES.split(), "parakeet") | dict.fromkeys(
    ("zh", "yue", "ja", "ko"), "sensevoice"
)
"""The engine `auto` prefers for a language; any other, and none, is Whisper's."""


@frozen
class Family:
    """What routing knows of an engine even where it is not installed."""

    engine: str
    provider: str
    model: str


FAMILIES: Mapping[str, Family] = {
    family.engine: family
    for family in (
        Family("whisper", "Faster-Whisper", WHISPER_SMALL),
        Family("parakeet", "Parakeet", "nvidia/parakeet-tdt-0.6b-v3"),
        Family("sensevoice", "SenseVoice", "iic/SenseVoiceSmall"),
        Family("sphinx", "PocketSphinx", "pocketsphinx-en-us"),
    )
}
"""In the order `auto` falls back in; the embedded engine is last, and under its own rule."""

EMBEDDED = "sphinx"


@frozen
class EngineFacts:
    """One engine that is not switched off. `install` is the command that installs it, `cards` are the
    models it lists."""

    installed: bool
    provider: str
    install: str
    cards: tuple[ModelCard, ...] = ()


@frozen
class Facts:
    """What is here right now.

    `on_disk`: ids whose weights need no download. `fetchable`: the hub answers. `local`: Whisper
    directories by id. `aliases`: names that stand for others. `disabled`: engines switched off.
    """

    engines: Mapping[str, EngineFacts] = field(factory=dict)
    on_disk: frozenset[str] = frozenset()
    fetchable: bool = False
    local: Mapping[str, str] = field(factory=dict)
    aliases: Mapping[str, str] = field(factory=dict)
    disabled: frozenset[str] = frozenset()


@frozen
class Chosen:
    """Who serves a request. `hint` is the language as engines want it; `streams`: without downgrade."""

    route: Route
    hint: str | None
    streams: bool

    @property
    def model_id(self) -> str:
        return self.route.model


def choose(name: str | None, language: str | None, translate: bool, facts: Facts) -> Chosen:
    """The engine and model for a transcription.

    Raises BackendFault: 400 `model_not_found` for a name nobody knows, 400 `invalid_field` for
    `translate` on a model that cannot, 503 `backend_missing` or `model_load_failed` if there is
    nobody to serve it.
    """
    hint = hint_of(language)
    wanted = _unaliased(name, facts.aliases)
    engine, model = _auto(hint, translate, facts) if wanted.lower() == AUTO else _named(wanted, facts)
    if translate and not _translates(engine, model, facts):
        provider = _provider(engine, facts)
        raise BackendFault(
            evolve(
                malformed(f"{model} cannot translate. Use a Whisper model, or auto.", param="translate"),
                provider=provider,
            )
        )
    if engine not in facts.engines or not facts.engines[engine].installed:
        raise BackendFault(_not_installed(engine, facts))
    return Chosen(Route(engine, model, Vram.OWN), hint, _card(engine, model, facts).supports_streaming)


def depends_on_hub(name: str | None, language: str | None, translate: bool, facts: Facts) -> bool:
    """Whether `choose` would answer differently with and without the hub."""
    return _told(name, language, translate, evolve(facts, fetchable=True)) != _told(
        name, language, translate, evolve(facts, fetchable=False)
    )


def hint_of(language: str | None) -> str | None:
    """The primary subtag of a hint, lower case; none if it is no language anybody knows."""
    primary = (language or "").strip().lower().replace("_", "-").partition("-")[0]
    return primary if primary in LANGUAGES else None


def _told(name: str | None, language: str | None, translate: bool, facts: Facts) -> Chosen | Fault:
    try:
        return choose(name, language, translate, facts)
    except BackendFault as refusal:
        return refusal.fault


# --- a name ------------------------------------------------------------------------------------------


def _unaliased(name: str | None, aliases: Mapping[str, str]) -> str:
    """The name behind any aliases; they are looked up in any case and never in a circle."""
    wanted = (name or "").strip() or AUTO
    folded = {alias.lower(): target for alias, target in aliases.items()}
    while wanted.lower() in folded:
        wanted = folded.pop(wanted.lower()).strip() or AUTO
    return wanted


def _named(wanted: str, facts: Facts) -> tuple[str, str]:
    """Engine and model id of a name: what was configured or is listed, then the known families."""
    low = wanted.lower()
    for model in facts.local:
        if model == wanted:
            return "whisper", model
    for model in facts.local:
        if model.lower() == low:
            return "whisper", model
    for engine, of in facts.engines.items():
        for card in of.cards:
            if card.id.lower() == low and card.capability == "asr":
                return engine, card.id
    size = low.removeprefix(WHISPER_PREFIX)
    size = SHORT.get(size, size)
    if size in SIZES:
        return "whisper", WHISPER_PREFIX + size
    for family in ("parakeet", "sensevoice"):
        if family in low:
            return family, FAMILIES[family].model
    if low == FAMILIES[EMBEDDED].model:
        return EMBEDDED, FAMILIES[EMBEDDED].model
    raise BackendFault(_unknown(wanted))


def _unknown(wanted: str) -> Fault:
    sizes = ", ".join(sorted(SIZES))
    if wanted.lower().startswith(WHISPER_PREFIX):
        return unknown_model(wanted, f"Whisper sizes are: {sizes}.")
    return unknown_model(
        wanted,
        "Accepted are auto, parakeet, sensevoice, the ids listed by /v1/models, and the Whisper sizes "
        f"with or without '{WHISPER_PREFIX}': {sizes}.",
    )


# --- auto --------------------------------------------------------------------------------------------


def _auto(hint: str | None, translate: bool, facts: Facts) -> tuple[str, str]:
    """The first candidate that is installed and whose weights are here or can be fetched."""
    for engine in _candidates(hint, translate, facts):
        model = _loadable(engine, translate, facts)
        if model is not None:
            return engine, model
    raise BackendFault(_nobody(hint, translate, facts))


def _candidates(hint: str | None, translate: bool, facts: Facts) -> Iterator[str]:
    """Engines to try, best first (some come twice).

    The preferred one; then whoever covers the language; then anyone multilingual; the embedded
    engine only for English or an unknown language, and never to translate.
    """
    installed = [engine for engine in _in_order(facts) if facts.engines[engine].installed]
    able = [engine for engine in installed if engine != EMBEDDED]
    if translate:
        yield from (engine for engine in able if _translates(engine, _default(engine, facts), facts))
        return
    preferred = PREFERRED.get(hint or "", "whisper")
    if preferred in able:
        yield preferred
    if hint is not None:
        yield from (engine for engine in able if hint in _languages(engine, facts))
    yield from (engine for engine in able if len(_languages(engine, facts)) > 1)
    if hint is None:
        yield from able
    if EMBEDDED in installed and hint in (None, "en"):
        yield EMBEDDED


def _in_order(facts: Facts) -> list[str]:
    """Engines that transcribe, the known families first."""
    known = [engine for engine in FAMILIES if engine in facts.engines]
    others = [engine for engine in facts.engines if engine not in FAMILIES]
    return [engine for engine in (*known, *others) if _cards(engine, facts)]


def _loadable(engine: str, translate: bool, facts: Facts) -> str | None:
    """The model `auto` means on this engine; none if its weights are neither here nor fetchable."""
    model = _default(engine, facts)
    if facts.fetchable or model in facts.on_disk:
        return model
    if engine == "whisper":
        sizes = (WHISPER_PREFIX + each for each in STAND_INS if not (translate and each in UNTAUGHT))
        return next((each for each in (*sizes, *facts.local) if each in facts.on_disk), None)
    return None


def _nobody(hint: str | None, translate: bool, facts: Facts) -> Fault:
    """Why `auto` found nobody, with what would help."""
    tried = next((each for each in _candidates(hint, translate, facts) if each != EMBEDDED), None)
    if tried is not None:
        return Fault(
            Code.MODEL_LOAD_FAILED,
            f"The model files of {_default(tried, facts)} are not on this server, and the model hub "
            "cannot be reached. Connect the server to it once, or name their directory in models.local.",
        )
    if translate:
        what = "No speech-to-text model that translates is installed on this server."
    elif any(facts.engines[engine].installed for engine in _in_order(facts)):
        what = f"No speech-to-text model on this server supports the language '{hint}'."
    else:
        what = "No speech-to-text model is installed on this server."
    if "whisper" in facts.disabled:
        help_ = "Whisper is switched off by engines.disabled."
    else:
        help_ = _help("whisper", facts)
    return Fault(Code.BACKEND_MISSING, f"{what} {help_}")


# --- what is known of an engine ----------------------------------------------------------------------


def _cards(engine: str, facts: Facts) -> tuple[ModelCard, ...]:
    of = facts.engines.get(engine)
    return tuple(card for card in of.cards if card.capability == "asr") if of else ()


def _default(engine: str, facts: Facts) -> str:
    """The model `auto` means on this engine."""
    if engine in FAMILIES:
        return FAMILIES[engine].model
    return _cards(engine, facts)[0].id


def _card(engine: str, model: str, facts: Facts) -> ModelCard:
    """The card of a model; an unlisted one (a Whisper size, a directory) is like its engine's first."""
    cards = _cards(engine, facts)
    return next((card for card in cards if card.id == model), cards[0] if cards else _NO_CARD)


_NO_CARD = ModelCard("", "", "asr")


def _languages(engine: str, facts: Facts) -> tuple[str, ...]:
    return _card(engine, _default(engine, facts), facts).languages


def _translates(engine: str, model: str, facts: Facts) -> bool:
    """Whisper does, even while it is not installed (so that the answer is 503); others say so."""
    return engine == "whisper" or _card(engine, model, facts).translate


def _provider(engine: str, facts: Facts) -> str:
    if engine in facts.engines:
        return facts.engines[engine].provider
    return FAMILIES[engine].provider


def _help(engine: str, facts: Facts) -> str:
    """What to do about an engine that is not there."""
    of = facts.engines.get(engine)
    return f"Install it with: {of.install}" if of else "`aistack doctor` on that machine says why."


def _not_installed(engine: str, facts: Facts) -> Fault:
    """The 503 for a named model whose engine is not there; waiting does not help."""
    provider = _provider(engine, facts)
    if engine in facts.disabled:
        message = f"{provider} is switched off on this server by engines.disabled."
    else:
        message = f"{provider} is not installed on this server. {_help(engine, facts)}"
    return Fault(Code.BACKEND_MISSING, message, provider)
