"""Settings that contradict each other, as sentences: what no limit of a single value can see. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from aistack.config import Config
from aistack.contract.devices import Device


def conflicts(config: Config) -> Iterator[str]:
    """A sentence for each contradiction between settings."""
    devices = config.slots.devices
    yield from _devices(devices)
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


def _devices(names: tuple[str, ...]) -> Iterator[str]:
    """What is wrong with the list of devices."""
    known: dict[Device, str] = {}
    for name in dict.fromkeys(names):
        if (count := names.count(name)) > 1:
            yield (
                f"slots.devices names {name} {count} times: a device is one slot "
                "(several on one processor are cpu:0, cpu:1, ...)."
            )
        try:
            device = Device.parse(name)
        except ValueError:
            yield f'slots.devices: {name!r} is not a device such as "auto", "cpu", "cpu:1" or "cuda:0".'
            continue
        if device.is_cuda:
            card = Device(device.kind, device.number)
            if card in known:
                yield f"slots.devices names one card twice: {known[card]} and {name}."
            known[card] = name
    if "auto" in names and len(names) > 1:
        yield 'slots.devices: "auto" chooses one device and stands alone; name them all instead.'
