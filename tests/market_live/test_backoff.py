"""Pauses between attempts, and how many dials there may be in all."""

from __future__ import annotations

import asyncio

import pytest

from levibot.market.live.backoff import DIAL_BURST, DIAL_EVERY_S, Backoff, DialBudget

S = 1_000_000_000


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.ns = 0

    def __call__(self) -> int:
        return self.ns


def test_pauses_double_up_to_half_a_minute() -> None:
    backoff = Backoff(Clock(), lambda: 0.0)
    assert [backoff.failed() for _ in range(9)] == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


def test_chance_shortens_a_pause_by_half_at_most() -> None:
    clock = Clock()
    assert Backoff(clock, lambda: 1.0).failed() == 0.25
    assert Backoff(clock, lambda: 0.5).failed() == 0.375
    assert all(0.25 <= Backoff(clock).failed() <= 0.5 for _ in range(100))


def test_a_minute_without_failure_is_a_new_beginning_and_less_is_not() -> None:
    clock = Clock()
    backoff = Backoff(clock, lambda: 0.0)
    for _ in range(3):
        backoff.failed()
    backoff.succeeded()
    clock.ns += 59 * S
    backoff.succeeded()  # still the same success
    assert backoff.failed() == 4
    backoff.succeeded()
    clock.ns += 60 * S
    assert backoff.failed() == 0.5


def test_an_hour_of_failures_is_no_success() -> None:
    clock = Clock()
    backoff = Backoff(clock, lambda: 0.0)
    for _ in range(2000):
        clock.ns += 60 * S
        backoff.failed()
    assert backoff.failed() == 30


def test_the_budget_gives_a_burst_and_then_one_at_a_time() -> None:
    clock = Clock()
    budget = DialBudget(3, 5.0, clock)

    async def take(times: int) -> None:
        for _ in range(times):
            assert budget.wait_s() == 0
            await budget.take()

    asyncio.run(take(3))
    assert budget.wait_s() == pytest.approx(5.0)
    clock.ns += 4 * S
    assert budget.wait_s() == pytest.approx(1.0)
    clock.ns += S
    asyncio.run(take(1))
    clock.ns += 3600 * S
    asyncio.run(take(3))  # no more than the burst is ever saved up
    assert budget.wait_s() > 0


def test_the_budget_keeps_the_strictest_rule_that_is_known() -> None:
    clock = Clock()
    budget = DialBudget(now_ns=clock)
    dials = 0

    async def dial_for(seconds: float) -> int:
        count = 0
        end = clock.ns + seconds * S
        while clock.ns < end:
            while budget.wait_s() == 0:
                await budget.take()
                count += 1
            clock.ns += S
        return count

    dials = asyncio.run(dial_for(600.0))
    assert dials <= 150, "Kraken, in ten minutes"
    assert dials >= DIAL_BURST + 600 / DIAL_EVERY_S - 1


def test_who_waits_is_served_in_order() -> None:
    served: list[int] = []

    async def scenario() -> None:
        budget = DialBudget(1, 0.05)

        async def take(number: int) -> None:
            await budget.take()
            served.append(number)

        await asyncio.gather(*(take(number) for number in range(4)))

    asyncio.run(scenario())
    assert served == [0, 1, 2, 3]
