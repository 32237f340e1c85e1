"""Settings that contradict each other, as sentences: what no limit of a single value can see. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from aistack.config import Config


def conflicts(config: Config) -> Iterator[str]:
    """A sentence for each contradiction between settings."""
    devices = config.slots.devices
    for name in sorted({name for name in devices if devices.count(name) > 1}):
        yield (
            f"slots.devices names {name} {devices.count(name)} times, but a device is one slot "
            "(for several slots on the CPU, name cpu:0, cpu:1, ...)."
        )
    if "auto" in devices and len(devices) > 1:
        yield 'slots.devices: "auto" chooses one device and must stand alone; name all devices instead.'
    for path, bound in (
        ("ollama.device", config.ollama.device),
        ("qwen_tts.device", config.qwen_tts.device),
    ):
        # It shares the memory of one GPU, which must be known before anything is loaded there.
        if bound and bound not in devices:
            yield f"{path} = {bound!r} is not in slots.devices ({', '.join(devices)})."
    if config.inference.model and not config.inference.root:
        yield (
            f"inference.model = {config.inference.model!r} needs inference.root, the folder with one "
            "directory of weights per tag."
        )
