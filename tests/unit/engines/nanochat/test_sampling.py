"""top-k, temperature, softmax, draw: in this order."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from aistack.engines.nanochat.sampling import Sampler
from aistack.errors import BackendFault, Code

LOGITS = torch.tensor([0.0, 3.0, 1.0, 2.0, -1.0])


def drawn(
    temperature: float, top_k: int, times: int = 4000, logits: torch.Tensor = LOGITS
) -> Counter[int]:
    sampler = Sampler(temperature, top_k, 7, "cpu")
    return Counter(sampler(logits) for _ in range(times))


def test_b49_temperature_zero_is_greedy_whatever_the_seed() -> None:
    for seed in (None, 1, 2):
        sampler = Sampler(0.0, 50, seed, "cpu")
        assert {sampler(LOGITS) for _ in range(20)} == {1}


def test_top_k_keeps_the_best_before_the_temperature_is_applied() -> None:
    assert set(drawn(2.0, 2)) == {1, 3}
    assert set(drawn(2.0, 1)) == {1}


def test_b44_top_k_zero_filters_nothing_and_too_large_does_no_harm() -> None:
    assert set(drawn(2.0, 0)) == set(range(5))
    assert set(drawn(2.0, 200)) == set(range(5))


@pytest.mark.parametrize(("temperature", "top_k"), [(1.0, 0), (0.5, 3), (2.0, 4)])
def test_the_shares_are_those_of_the_softmax(temperature: float, top_k: int) -> None:
    best, ids = torch.topk(LOGITS, top_k or 5)
    wanted = dict(zip(ids.tolist(), torch.softmax(best / temperature, -1).tolist(), strict=True))
    counts = drawn(temperature, top_k, 20_000)
    for token, share in wanted.items():
        assert counts[token] / 20_000 == pytest.approx(share, abs=0.02)


def test_the_same_seed_draws_the_same_and_none_is_fresh() -> None:
    def draw(seed: int | None) -> list[int]:
        sampler = Sampler(2.0, 0, seed, "cpu")
        return [sampler(LOGITS) for _ in range(60)]

    assert draw(5) == draw(5)
    assert draw(5) != draw(6)
    assert draw(None) != draw(None)
    assert draw(-1) == draw(-1)


@pytest.mark.parametrize("temperature", [1e-30, 1e-7, 1e-5, 2.0])
def test_extreme_temperatures_and_logits_stay_numbers(temperature: float) -> None:
    logits = LOGITS * 1e30
    assert set(drawn(temperature, 0, 10, logits)) == {1}


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_logits_that_are_no_numbers_are_a_failure(temperature: float, bad: float) -> None:
    with pytest.raises(BackendFault) as caught:
        Sampler(temperature, 0, 1, "cpu")(torch.tensor([0.0, bad, 1.0]))
    assert caught.value.fault.code is Code.INTERNAL_ERROR


def test_half_precision_logits() -> None:
    assert set(drawn(1.0, 2, 50, LOGITS.bfloat16())) == {1, 3}
