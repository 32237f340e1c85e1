"""Which metrics there are. Each function is one source of /metrics and reads only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from aistack import __version__
from aistack.contract.internal import PoolStats
from aistack.jobs.model import Snapshot
from aistack.jobs.states import Mode
from aistack.observe.access_log import AccessLog
from aistack.observe.capture import Store
from aistack.observe.counts import Counter, Histogram, ModelNames
from aistack.observe.job_metrics import JobFigures
from aistack.observe.prometheus import MetricFamily, counted, counter, gauge, timed
from aistack.observe.toggles import KEYS, Toggles
from aistack.run.nvml import GpuMemory, gpu_memory
from aistack.run.process import OurProcess
from aistack.run.process_memory import proportional_size, resident_sizes

SPARE = "spare"
"""The `device` of a process that is kept warm and holds no slot."""


def job_families(figures: JobFigures) -> Iterator[MetricFamily]:
    """Everything that became a job."""
    yield counted(
        "aistack_jobs",
        "Jobs that ended, by operation, model, outcome and error code (empty: none).",
        ("op", "model", "outcome", "code"),
        figures.jobs,
    )
    op = ("op",)
    yield timed("aistack_job_wait_seconds", "Time in the queue, per job.", op, figures.wait)
    yield timed("aistack_job_prepare_seconds", "From the slot to the run.", op, figures.prepare)
    yield timed(
        "aistack_job_first_byte_seconds", "From submission to first byte.", op, figures.first_byte
    )
    yield timed(
        "aistack_job_run_seconds", "From the run's start to its end.", ("op", "model"), figures.run
    )
    yield timed("aistack_job_slot_seconds", "How long the slot was held.", op, figures.slot)
    yield counted("aistack_audio_seconds", "Length of audio transcribed.", ("model",), figures.audio)
    yield timed("aistack_rtf", "Seconds of run per second of audio, per job.", ("model",), figures.rtf)
    yield counted("aistack_upload_bytes", "Bytes of request bodies of jobs.", op, figures.upload)
    yield counted(
        "aistack_model_loads",
        "Loads, by model and result (ok, failed).",
        ("model", "result"),
        figures.loads,
    )
    yield timed("aistack_model_load_seconds", "Duration of loads.", ("model",), figures.load)
    yield timed("aistack_evict_seconds", "Duration of emptying a card.", (), figures.evict)
    yield counted("aistack_swaps", "Changes of weights that ended.", ("outcome",), figures.swaps)
    yield timed(
        "aistack_swap_seconds", "Changes of weights, from the call to the end.", (), figures.swap
    )


def request_families(requests: Counter, seconds: Histogram) -> Iterator[MetricFamily]:
    """Capability requests, those that never became a job included."""
    yield counted(
        "aistack_requests",
        "Requests by capability and class (2xx, 4xx, 5xx, 503-busy, client-disconnect).",
        ("category", "class"),
        requests,
    )
    yield timed("aistack_request_seconds", "From the request's head to its end.", ("category",), seconds)


def slot_families(snapshot: Snapshot, now: float, names: ModelNames) -> Iterator[MetricFamily]:
    """The service at this moment. `now` is the scheduler's time."""
    jobs = snapshot.jobs
    held = [(slot, jobs[slot.holder]) for slot in snapshot.slots if slot.holder is not None]
    yield gauge(
        "aistack_slot_busy",
        "Whether the slot is held.",
        ("device",),
        [((slot.device,), float(slot.holder is not None)) for slot in snapshot.slots],
    )
    yield gauge(
        "aistack_slot_holder",
        "1 for the operation and the model that hold the slot.",
        ("device", "op", "model", "state"),
        [
            ((s.device, job.op.value, names.label(job.route.model, False), job.phase.value), 1.0)
            for s, job in held
        ],
    )
    yield gauge(
        "aistack_slot_held_seconds",
        "How long the holder has held it.",
        ("device",),
        [((s.device,), now - (job.granted or now)) for s, job in held],
    )
    yield gauge("aistack_line_length", "Jobs in the queue.", (), [((), float(len(snapshot.queue)))])
    yield gauge(
        "aistack_resident_model",
        "1 for the model that one of our engines holds on the card.",
        ("device", "engine", "model"),
        [
            ((s.device, s.resident.backend, names.label(s.resident.model, True)), 1.0)
            for s in snapshot.slots
            if s.resident is not None
        ],
    )
    draining = float(snapshot.mode is Mode.DRAINING)
    yield gauge("aistack_draining", "Whether the service is stopping.", (), [((), draining)])
    yield gauge("aistack_info", "Always 1; the version.", ("version",), [((__version__,), 1.0)])


def engine_families(
    started: Mapping[str, int], lost: Mapping[tuple[str, str], int]
) -> Iterator[MetricFamily]:
    """Engine processes."""
    yield counter(
        "aistack_engine_starts",
        "Engine processes started.",
        ("engine",),
        [((name,), float(count)) for name, count in started.items()],
    )
    yield counter(
        "aistack_engine_losses",
        "Engine processes that crashed or were killed, and when: idle, load, run.",
        ("engine", "when"),
        [(key, float(count)) for key, count in lost.items()],
    )


def memory_families(
    processes: Iterable[OurProcess], cards: Callable[[], Mapping[str, GpuMemory]]
) -> Iterator[MetricFamily]:
    """Memory of the engine processes and of the cards; blocks for a moment."""
    labels = {each.pid: (each.engine, each.device or SPARE) for each in processes}
    resident = resident_sizes(labels)
    proportional = {pid: proportional_size(pid) for pid in resident}
    sizes = [((*labels[pid], "rss"), float(size)) for pid, size in resident.items()]
    sizes += [
        ((*labels[pid], "pss"), float(size)) for pid, size in proportional.items() if size is not None
    ]
    yield gauge(
        "aistack_engine_memory_bytes",
        "Memory of each engine process; pss counts shared pages by their share.",
        ("engine", "device", "kind"),
        sizes,
    )
    known = cards()
    yield gauge(
        "aistack_card_memory_bytes",
        "Memory of the card as its driver reports it, used by any process.",
        ("device", "kind"),
        [
            ((device, kind), float(size))
            for device, card in known.items()
            for kind, size in (("used", card.used), ("total", card.total))
        ],
    )


def generation_families(stats: PoolStats, inference: Histogram) -> Iterator[MetricFamily]:
    """The names that dashboards of the internal API know; `stats` is the body of /stats."""
    yield timed("inference_duration_seconds", "Duration of generations.", (), inference)
    made = float(stats.tokens_generated_total)
    yield counter("tokens_generated", "Tokens generated.", (), [((), made)])
    for name, number, doc in (
        ("workers_total", stats.total_workers, "Slots."),
        ("workers_busy", stats.busy_workers, "Slots that are held, by any job."),
        ("workers_available", stats.available_workers, "Slots that are free."),
        ("active_generations", stats.active_generations, "Generations under way."),
    ):
        yield gauge(name, doc, (), [((), float(number))])


def own_families(toggles: Toggles, access_log: AccessLog, store: Store) -> Iterator[MetricFamily]:
    """What observability does to itself."""
    yield gauge(
        "aistack_observability_on",
        "The switches; while metrics is 0 the counters of requests and jobs stand still.",
        ("switch",),
        [((key,), float(getattr(toggles, key))) for key in KEYS],
    )
    written, lost = float(access_log.written), float(access_log.dropped)
    yield counter("aistack_access_log_lines", "Lines written.", (), [((), written)])
    yield counter("aistack_access_log_dropped", "Lines lost to a full or slow disk.", (), [((), lost)])
    yield gauge("aistack_payload_bytes", "Captures on the disk.", (), [((), float(store.usage.bytes))])
    yield gauge("aistack_payload_captures", "How many there are.", (), [((), float(store.usage.count))])
    yield counter(
        "aistack_payload_dropped",
        "Captures lost to a full or slow disk.",
        (),
        [((), float(store.dropped))],
    )


def card_memory(devices: Iterable[str]) -> dict[str, GpuMemory]:
    """Memory of every card among the devices that the driver knows; blocks for a moment."""
    known = {device: gpu_memory(device) for device in devices}
    return {device: memory for device, memory in known.items() if memory is not None}
