"""Buckets count values up to their bound, and every value counts once in the sum."""

from __future__ import annotations

from aistack.histogram import Buckets, Histogram


def test_an_empty_one() -> None:
    assert Histogram((1.0, 2.0)).told() == Buckets(((1.0, 0), (2.0, 0)), 0.0, 0)


def test_buckets_are_cumulative_and_a_bound_belongs_to_its_bucket() -> None:
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 2.0, 7.0):
        histogram.add(value)
    assert histogram.told() == Buckets(((1.0, 2), (2.0, 4)), 12.0, 5)


def test_two_histograms_share_nothing() -> None:
    one, other = Histogram(), Histogram()
    one.add(0.2)
    assert other.told().count == 0
    assert one.told().upto[0] == (0.05, 0)
    assert one.told().upto[-1] == (160.0, 1)
