"""Random walks through the modelled world: longer and wider than the exhaustive search can go.

Hypothesis chooses cards, jobs and the order of everything that may happen; the laws are asserted
after every event, and at the end everything that is under way is let finish.
"""

from __future__ import annotations

import datetime

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from aistack.jobs import Job, Limits, Op, Phase, Resident
from tests.unit.jobs import build as b
from tests.unit.jobs.world import World

MODELS = st.sampled_from([b.WHISPER, b.PARAKEET, b.OLD, b.NEW])
WIRES = st.sampled_from(
    [b.WHOLE, b.STREAM, b.RELAYED, b.FakeStream(shows=False), b.FakeStream(clean=False)]
)
PATIENCE = st.sampled_from([0.0, 0.0, 1.0, 30.0])
OPS = st.sampled_from([*Op, Op.TRANSCRIBE, Op.GENERATE, Op.SWAP])


class Service(RuleBasedStateMachine):
    """A service of one to three cards, and everything that can happen to it."""

    @initialize(
        data=st.data(), cards=st.integers(1, 3), max_queued=st.integers(0, 3), chosen=st.booleans()
    )
    def start(self, data: st.DataObject, cards: int, max_queued: int, chosen: bool) -> None:
        residents = [data.draw(st.none() | MODELS) for _ in range(cards)]
        selected = data.draw(st.sampled_from([b.OLD, b.NEW])) if chosen else None
        limits = Limits(max_queued=max_queued)
        self.world = World(b.service(*residents, selected=selected, limits=limits), deaths=99)
        self.submitted = 0

    @rule(op=OPS, model=MODELS, wire=WIRES, max_wait_s=PATIENCE, data=st.data())
    def submit(
        self, op: Op, model: Resident, wire: b.FakeWire, max_wait_s: float, data: st.DataObject
    ) -> None:
        self.submitted += 1
        job_id = f"{op.value}{self.submitted}"
        card = data.draw(st.sampled_from(list(self.world.ours)))
        self.world.submit(self.job(job_id, op, model, wire, max_wait_s, card, data.draw(st.booleans())))

    def job(
        self,
        job_id: str,
        op: Op,
        model: Resident,
        wire: b.FakeWire,
        max_wait_s: float,
        card: str,
        bound: bool,
    ) -> Job:
        """Foreign servers are bound to a card by configuration; the selected weights to none."""
        device = card if bound else None
        match op:
            case Op.TRANSCRIBE:
                return b.listen(job_id, model, wire, max_wait_s, device)
            case Op.CHAT:
                return b.chat(job_id, wire, max_wait_s)
            case Op.SPEAK:
                return b.speak(job_id, wire, max_wait_s, card)
            case Op.GENERATE:
                return b.generate(job_id, wire, max_wait_s)
            case Op.SWAP:
                return b.swap(job_id, model)
            case Op.LOAD:
                return b.load(job_id, model, device)
            case Op.UNLOAD:
                return b.unload(job_id, model, device)

    @precondition(lambda self: any(True for _ in self.world.moves()))
    @rule(data=st.data())
    def anything(self, data: st.DataObject) -> None:
        moves = sorted(self.world.moves(), key=str)
        self.world.do(data.draw(st.sampled_from(moves)))

    @precondition(lambda self: self.world.steps)
    @rule(data=st.data())
    def a_good_report(self, data: st.DataObject) -> None:
        """Weighted towards success, so that walks get far."""
        good = ("evicted", "loaded", "finish", "produce", "stopped")
        moves = sorted((m for m in self.world.moves() if m[0] in good), key=str)
        if moves:
            self.world.do(data.draw(st.sampled_from(moves)))

    @precondition(lambda self: self.world.steps)
    @rule(data=st.data(), done=st.floats(0, 20))
    def progress(self, data: st.DataObject, done: float) -> None:
        self.world.do(("progress", data.draw(st.sampled_from(sorted(self.world.steps))), done))

    @precondition(lambda self: self.holders())
    @rule(data=st.data())
    def spoil(self, data: st.DataObject) -> None:
        self.world.do(("spoil", data.draw(st.sampled_from(self.holders()))))

    def holders(self) -> list[str]:
        jobs = self.world.snapshot.jobs
        return sorted(
            job.id for job in jobs.values() if job.phase not in (Phase.WAITING, Phase.CANCELLED)
        )

    @rule(data=st.data())
    def strangers(self, data: st.DataObject) -> None:
        self.world.do(("foreign", data.draw(st.sampled_from(list(self.world.ours)))))

    @rule(seconds=st.sampled_from([0.1, 5.0, 11.0, 400.0]))
    def time_passes(self, seconds: float) -> None:
        self.world.now += seconds

    @precondition(lambda self: self.submitted > 3)
    @rule(expired=st.booleans())
    def drain(self, expired: bool) -> None:
        if not expired or self.world.draining:
            self.world.do(("drain expired",) if expired else ("drain",))

    def teardown(self) -> None:
        """Let everything that is under way end by itself: no job may be left."""
        if not hasattr(self, "world"):
            return
        world = self.world
        last = ("evicted", "loaded", "finish", "lose", "vanished")
        for _ in range(500):
            moves = sorted(
                (m for m in world.moves() if m[0] in last), key=lambda m: (last.index(m[0]), str(m))
            )
            moves = moves or [m for m in world.moves() if m[0] == "timer"]
            if not moves:
                break
            world.do(moves[0])
        assert not world.snapshot.jobs, "a job that never ends"
        assert set(world.over) == set(world.originals)
        assert all(slot.holder is None for slot in world.snapshot.slots)


TestService = Service.TestCase
TestService.settings = settings(
    max_examples=120,
    stateful_step_count=60,
    deadline=datetime.timedelta(seconds=5),
    suppress_health_check=[HealthCheck.too_slow],
)
