"""Settings that contradict each other, in sentences: what no single value's rule can see. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from aistack.config import Config


def conflicts(config: Config) -> Iterator[str]:
    """What is wrong between the sections; nothing if all is well."""
    devices = config.slots.devices
    for name in sorted({name for name in devices if devices.count(name) > 1}):
        yield (
            f"slots.devices names {name} {devices.count(name)} times: a device is one slot "
            "(several on one processor are cpu:0, cpu:1, ...)."
        )
    if "auto" in devices and len(devices) > 1:
        yield 'slots.devices: "auto" chooses one device and stands alone; name them all instead.'
    for path, bound in (
        ("ollama.device", config.ollama.device),
        ("qwen_tts.device", config.qwen_tts.device),
    ):
        # It shares one card's memory: which one has to be known before anything is loaded there.
        if bound and bound not in devices:
            yield f"{path} = {bound!r} is none of slots.devices ({', '.join(devices)})."
    if config.inference.model and not config.inference.root:
        yield (
            f"inference.model = {config.inference.model!r} needs inference.root, the folder with one "
            "directory of weights per tag."
        )
