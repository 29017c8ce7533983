"""What devices get from a link, and when it is saturated."""

from __future__ import annotations

import math
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from entres.link.model import (
    Estimate,
    Experience,
    Point,
    Scenario,
    attacked_numbers,
    half_utilized,
    saturating_share,
    saturation,
    simulate,
    utilization,
)
from entres.link.queues import fifo
from entres.link.traffic import on_the_wire, traffic
from entres.link.uplink import LinkError, Uplink

CLEAN = np.random.default_rng(0).integers(4000, 9000, 50)
ATTACKED = 3 * CLEAN
SCENARIO = Scenario("pgd_e 8/255", None, CLEAN, ATTACKED)
UPLINK = half_utilized(Uplink(), CLEAN)


def points(uplink: Uplink = UPLINK, frames: int = 20_000, seed: int = 0) -> dict[str, list[Point]]:
    found = list(simulate(uplink, SCENARIO, frames=frames, seed=seed))
    return {name: [p for p in found if p.discipline == name] for name in ("fifo", "fair")}


def there(who: Experience | None) -> Experience:
    assert who is not None
    return who


def figures(who: Experience) -> list[Estimate]:
    return [who.p50, who.p95, who.p99, who.missed, who.throughput]


def test_utilization_is_offered_over_possible() -> None:
    # 10 devices, 5 images a second of 10,000 bytes: 4 Mbit/s.
    uplink = Uplink(devices=10, frames_per_second=5, rate_mbps=16)
    assert utilization(uplink, 10_000) == pytest.approx(0.25)
    assert utilization(UPLINK, float(on_the_wire(UPLINK, CLEAN).mean())) == pytest.approx(0.5)


def test_the_share_that_saturates_brings_the_utilization_to_one() -> None:
    uplink = Uplink(devices=10, frames_per_second=5, rate_mbps=16)
    share = saturating_share(uplink, 10_000, 130_000)
    assert share == pytest.approx(0.25)  # 10,000 + 0.25 x 120,000 are 40,000
    assert utilization(uplink, 10_000 + share * 120_000) == pytest.approx(1)
    assert saturating_share(uplink, 10_000, 40_000) == 1.0
    assert saturating_share(uplink, 10_000, 39_999) == math.inf
    assert saturating_share(uplink, 10_000, 9_000) == math.inf
    assert saturating_share(uplink, 40_000, 50_000) == 0.0


def test_its_interval_is_that_of_the_images() -> None:
    found = saturation(UPLINK, SCENARIO)
    assert found.low < found.value < found.high
    assert found.value == pytest.approx(0.5, abs=0.02)
    # Fewer images, less certain; images that are all the same leave nothing to doubt.
    few = replace(SCENARIO, clean=CLEAN[:5], attacked=ATTACKED[:5])
    wide = saturation(half_utilized(UPLINK, CLEAN[:5]), few)
    assert wide.high - wide.low > found.high - found.low
    same = saturation(UPLINK, replace(SCENARIO, clean=CLEAN[:1], attacked=ATTACKED[:1]))
    assert same.low == same.value == same.high
    # Never, and the ends may say so by themselves.
    never = saturation(UPLINK, replace(SCENARIO, attacked=CLEAN))
    assert never == (math.inf, math.inf, math.inf)


def test_honest_devices_suffer_where_the_first_is_served_first() -> None:
    found = points()
    fifo_points, fair_points = found["fifo"], found["fair"]
    assert [p.attacked_devices for p in fifo_points] == list(range(11))
    # Half of the devices send thrice as much: 0.25 + 0.75.
    assert fifo_points[5].utilization == pytest.approx(1.0, abs=0.01)
    before, behind = there(fifo_points[0].honest), there(fifo_points[8].honest)
    fairly_before, fairly = there(fair_points[0].honest), there(fair_points[8].honest)
    assert behind.p50.value > 20 * before.p99.value
    assert behind.missed.low > 0.9
    assert behind.throughput.value < 0.8 * before.throughput.value
    # A tenth of the link is enough for an honest device: ten times its own 5 ms and a bit.
    assert fairly.p99.value < 100
    assert fairly.missed.value == 0
    assert fairly.throughput.value == pytest.approx(fairly_before.throughput.value, rel=0.02)
    assert there(fair_points[8].attacked).p50.value > 10 * fairly.p99.value


def test_what_is_offered_comes_through_until_the_link_is_full() -> None:
    for of_discipline in points().values():
        for point in of_discipline:
            images = sum(
                number * who.throughput.value
                for number, who in (
                    (10 - point.attacked_devices, point.honest),
                    (point.attacked_devices, point.attacked),
                )
                if who is not None
            )
            if point.utilization < 0.95:
                assert images == pytest.approx(100, rel=0.02)
            elif point.utilization > 1.1:
                assert images < 98


def test_percentiles_are_in_order_and_inside_of_their_intervals() -> None:
    for of_discipline in points().values():
        for point in of_discipline:
            for who in (point.honest, point.attacked):
                if who is None:
                    continue
                assert who.p50.value <= who.p95.value <= who.p99.value
                for value, low, high in figures(who):
                    assert low <= value <= high
        assert of_discipline[0].attacked is None
        assert of_discipline[-1].honest is None


def test_latency_holds_head_defense_and_tail() -> None:
    uplink = replace(UPLINK, head_ms=20, tail_ms=7, deadline_ms=35)
    defended = replace(SCENARIO, defense="masked_tv", clean_defense_ms=3)
    with_all = there(next(simulate(uplink, defended, ["fifo"], frames=20_000)).honest)
    alone = there(next(simulate(UPLINK, SCENARIO, ["fifo"], frames=20_000)).honest)
    assert with_all.p95.value == pytest.approx(alone.p95.value + 30)
    assert with_all.missed.value > 0.3
    assert alone.missed.value == 0


def test_a_seed_repeats_itself_and_another_one_does_not() -> None:
    def some(seed: int) -> list[Point]:
        return list(simulate(replace(UPLINK, devices=2), SCENARIO, frames=4000, seed=seed))

    assert some(3) == some(3)
    assert some(3) != some(4)


def test_waiting_for_drawn_images_is_what_pollaczek_and_khinchine_say() -> None:
    uplink = replace(UPLINK, arrivals="poisson", rate_mbps=UPLINK.rate_mbps * 0.7)
    sent = traffic(uplink, 40, 4000, np.random.default_rng(5))
    # 1 of 10 images is attacked: the second moment is that of both.
    sizes = on_the_wire(uplink, np.concatenate([np.tile(CLEAN, 9), ATTACKED]))
    seconds = sizes / uplink.bytes_per_second
    service = seconds[(sent.images * len(sizes)).astype(int)]
    waited = float((fifo(sent.arrivals, service) - sent.arrivals - service).mean())
    load = utilization(uplink, float(sizes.mean()))
    assert 0.8 < load < 0.9
    mean = uplink.images_per_second * float((seconds**2).mean()) / (2 * (1 - load))
    assert waited == pytest.approx(mean, rel=0.02)


def test_shares_go_from_none_to_all() -> None:
    assert attacked_numbers(1) == [0, 1]
    assert attacked_numbers(3) == [0, 1, 2, 3]
    assert attacked_numbers(1000) == list(range(0, 1001, 100))


def test_too_few_frames_are_a_sentence() -> None:
    with pytest.raises(LinkError, match=r"7,999 frames .* 10 devices: give at least 8,000"):
        next(simulate(UPLINK, SCENARIO, frames=7_999))


# Of fewer frames as many points are taken at once as make a million.
@pytest.mark.parametrize(("discipline", "frames"), [("fifo", 1_000_000), ("fair", 100_000)])
def test_a_million_frames_need_little_memory(discipline: str, frames: int) -> None:
    tracemalloc.start()
    point = next(simulate(UPLINK, SCENARIO, [discipline], frames=frames))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert there(point.honest).throughput.value == pytest.approx(10, rel=0.01)
    assert peak < 200e6
