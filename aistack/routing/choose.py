"""A model name, a language hint, a task and what is installed -> who serves it. Pure.

Read `choose_model`: a name is resolved to one engine and model, or `auto` walks the candidates from
the preferred one down. `Facts` are gathered by `routing.inventory` from what the engines say of
themselves; only `fetchable` costs a network probe, and `depends_on_hub` says whether it matters for a
request at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from attrs import evolve

from aistack.chunks import Vram
from aistack.errors import BackendFault, Code, Fault, malformed, unknown_model
from aistack.jobs.model import Route
from aistack.routing.facts import Chosen, EngineFacts, Facts

AUTO = "auto"


def choose_model(name: str | None, language: str | None, translate: bool, facts: Facts) -> Chosen:
    """The engine and model for a transcription.

    Raises BackendFault: 400 `model_not_found` for an unknown name, 400 `invalid_field` for
    `translate` on a model that cannot, 503 `backend_missing` or `model_load_failed` if no engine can
    serve it.
    """
    hint = hint_of(language, facts)
    target = _unaliased(name, facts.aliases)
    engine, model = _auto(hint, translate, facts) if target.lower() == AUTO else _named(target, facts)
    of = facts.known[engine]
    offered = of.model(model)
    if translate and not offered.translate:
        raise BackendFault(
            evolve(
                malformed(f"{model} cannot translate. Use a Whisper model, or auto.", param="translate"),
                provider=of.provider,
            )
        )
    if engine not in facts.engines or not of.installed:
        raise BackendFault(_not_installed(engine, facts))
    return Chosen(Route(engine, model, Vram.OWN), hint, offered.supports_streaming)


def depends_on_hub(name: str | None, language: str | None, translate: bool, facts: Facts) -> bool:
    """Whether `choose_model` would answer differently with and without the hub."""
    return _outcome(name, language, translate, evolve(facts, fetchable=True)) != _outcome(
        name, language, translate, evolve(facts, fetchable=False)
    )


def hint_of(language: str | None, facts: Facts) -> str | None:
    """The primary subtag of a hint, lower case; None if no engine knows such a language."""
    primary = (language or "").strip().lower().replace("_", "-").partition("-")[0]
    known = any(primary in model.languages for of in facts.known.values() for model in of.transcribing)
    return primary if known else None


def _outcome(name: str | None, language: str | None, translate: bool, facts: Facts) -> Chosen | Fault:
    try:
        return choose_model(name, language, translate, facts)
    except BackendFault as refusal:
        return refusal.fault


# --- a name ------------------------------------------------------------------------------------------


def _unaliased(name: str | None, aliases: Mapping[str, str]) -> str:
    """The name behind any aliases; they are looked up in any case and never in a circle."""
    target = (name or "").strip() or AUTO
    folded = {alias.lower(): behind for alias, behind in aliases.items()}
    while target.lower() in folded:
        target = folded.pop(target.lower()).strip() or AUTO
    return target


def _named(name: str, facts: Facts) -> tuple[str, str]:
    """Engine and model id of a name: what was configured, what is listed, then what else is known."""
    low = name.lower()
    local = name if name in facts.local else next((id for id in facts.local if id.lower() == low), None)
    if local is not None:
        for engine, of in facts.known.items():
            if of.takes_directories:
                return engine, local
    models = [(engine, model) for engine, of in facts.known.items() for model in of.transcribing]
    for engine, model in models:
        if model.listed and low == model.id.lower():
            return engine, model.id
    for engine, model in models:
        if low in (model.id.lower(), *model.names):
            return engine, model.id
    for engine, of in facts.known.items():
        if of.family and of.family in low and of.transcribing:
            return engine, of.default.id
    raise BackendFault(_unknown_model(name, facts))


def _unknown_model(name: str, facts: Facts) -> Fault:
    families = [of.family for of in facts.known.values() if of.family]
    accepted = [AUTO, *families, "the ids listed by /v1/models"]
    for engine, of in facts.known.items():
        sizes = ", ".join(sorted(model.source for model in of.transcribing if model.source))
        if sizes and name.lower().startswith(f"{engine}-"):
            return unknown_model(name, f"{engine.title()} sizes are: {sizes}.")
        if sizes:
            accepted.append(f"the {engine.title()} sizes with or without '{engine}-': {sizes}")
    return unknown_model(name, f"Accepted are {', '.join(accepted[:-1])}, and {accepted[-1]}.")


# --- auto --------------------------------------------------------------------------------------------


def _auto(hint: str | None, translate: bool, facts: Facts) -> tuple[str, str]:
    """The first candidate that is installed and whose weights are here or can be fetched."""
    for engine in _candidates(hint, translate, facts):
        model = _loadable(facts.engines[engine], translate, facts)
        if model is not None:
            return engine, model
    raise BackendFault(_nobody(hint, translate, facts))


def _candidates(hint: str | None, translate: bool, facts: Facts) -> Iterator[str]:
    """Engines to try, best first (some come twice).

    The one that goes first for the language; then those that cover it; then any multilingual one; the
    last resort only for its own language or without a hint, and never to translate.
    """
    installed = {engine: of for engine, of in facts.engines.items() if of.installed and of.transcribing}
    able = {engine: of for engine, of in installed.items() if not of.auto.last_resort}
    if translate:
        yield from (engine for engine, of in able.items() if of.default.translate)
        return
    covering = [engine for engine, of in able.items() if hint is None or hint in of.default.languages]
    first = [engine for engine, of in able.items() if hint in of.auto.first_for]
    yield from first or (engine for engine in covering if able[engine].auto.first_otherwise)
    if hint is not None:
        yield from covering
    yield from (engine for engine, of in able.items() if len(of.default.languages) > 1)
    yield from covering
    for engine, of in installed.items():
        if of.auto.last_resort and (hint is None or hint in of.default.languages):
            yield engine


def _loadable(of: EngineFacts, translate: bool, facts: Facts) -> str | None:
    """The model `auto` means on this engine; None if its weights are neither here nor fetchable."""
    if of.default.id in facts.on_disk or (facts.fetchable and of.fetches):
        return of.default.id
    unable = of.auto.not_translating if translate else ()
    stand_ins = (model for model in of.auto.stand_ins if model not in unable)
    local = facts.local if of.takes_directories else ()
    return next((model for model in (*stand_ins, *local) if model in facts.on_disk), None)


def _nobody(hint: str | None, translate: bool, facts: Facts) -> Fault:
    """Why `auto` found no engine, and what would help."""
    tried = [facts.engines[engine] for engine in _candidates(hint, translate, facts)]
    lacking = next((of for of in tried if not of.auto.last_resort), None)
    if lacking is not None:
        if lacking.fetches:
            why = (
                "the model hub cannot be reached. Connect the server to it once, or name their "
                "directory in models.local."
            )
        else:
            why = f"{lacking.provider} cannot download them."
        message = f"The model files of {lacking.default.id} are not on this server, and {why}"
        return Fault(Code.MODEL_LOAD_FAILED, message)
    if translate:
        what = "No speech-to-text model that translates is installed on this server."
    elif any(of.installed and of.transcribing for of in facts.engines.values()):
        what = f"No speech-to-text model on this server supports the language '{hint}'."
    else:
        what = "No speech-to-text model is installed on this server."
    return Fault(Code.BACKEND_MISSING, f"{what}{_advice(facts)}")


def _advice(facts: Facts) -> str:
    """How to get the engine that serves most languages."""
    for engine, of in facts.known.items():
        if of.auto.first_otherwise:
            if engine in facts.disabled:
                return f" {of.provider} is switched off by engines.disabled."
            return f" {_help(engine, facts)}"
    return ""


def _help(engine: str, facts: Facts) -> str:
    """What to do about an engine that is not there."""
    of = facts.engines.get(engine)
    return f"Install it with: {of.install}" if of else "`aistack doctor` on that machine says why."


def _not_installed(engine: str, facts: Facts) -> Fault:
    """The 503 for a named model whose engine is not there; waiting does not help."""
    of = facts.known[engine]
    if engine in facts.disabled:
        message = f"{of.provider} is switched off on this server by engines.disabled."
    else:
        message = f"{of.provider} is not installed on this server. {_help(engine, facts)}"
    return Fault(Code.BACKEND_MISSING, message, of.provider)
