"""The restart policy, driven with times alone."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from levibot.config import PoliciesConfig, PolicyConfig
from levibot.supervisor.recovery import Attempt, RestartPolicy

ENGINE = RestartPolicy.of(PolicyConfig())
FEED = RestartPolicy.of(PoliciesConfig().feed)
WINDOW = 3600.0

# Whole quarters of seconds are exact in binary, so sums and differences below are too.
seconds = st.integers(0, 40_000).map(lambda quarters: quarters / 4)
histories = st.lists(seconds, max_size=12)
policies = st.builds(
    RestartPolicy,
    delays=st.lists(seconds, min_size=1, max_size=6).map(lambda values: tuple(sorted(values))),
    budget=st.integers(0, 6),
    window=seconds.filter(lambda value: value > 0),
    jitter=st.just(0.25),
)


def always_dying(policy: RestartPolicy, count: int, jitter: float = 0.0) -> list[float]:
    """Restart times of a worker that dies at once, `count` times."""
    restarts: list[float] = []
    now = 0.0
    for _ in range(count):
        now = policy.next_attempt(restarts, now, jitter).at
        restarts.append(now)
    return restarts


def test_a_worker_that_always_dies_restarts_at_the_published_times() -> None:
    assert always_dying(ENGINE, 6) == [0, 60, 180, 420, 900, 3600]


def test_full_jitter_adds_a_tenth() -> None:
    assert always_dying(ENGINE, 5, jitter=1.0) == pytest.approx([0, 66, 198, 462, 990])


def test_infrastructure_is_never_exhausted() -> None:
    restarts = always_dying(FEED, 200)
    gaps = [later - earlier for earlier, later in pairwise(restarts)]
    assert gaps[:6] == [1, 2, 4, 8, 15, 30]
    assert set(gaps[6:]) == {30}
    assert not FEED.next_attempt(restarts, restarts[-1]).exhausted
    assert FEED.budget_left(restarts, restarts[-1]) is None


def test_backing_off_and_exhausted_are_told_apart() -> None:
    four = [0.0, 60.0, 180.0, 420.0]
    assert ENGINE.next_attempt(four, 421.0) == Attempt(900.0, exhausted=False)
    assert ENGINE.next_attempt([*four, 900.0], 901.0) == Attempt(3600.0, exhausted=True)


def test_the_window_is_half_open() -> None:
    restarts = [0.0, 60.0, 180.0, 420.0, 900.0]
    assert ENGINE.count(restarts, 3599.75) == 5
    assert ENGINE.count(restarts, 3600.0) == 4
    assert ENGINE.next_attempt(restarts, 3599.75) == Attempt(3600.0, exhausted=True)
    assert ENGINE.next_attempt(restarts, 3600.0) == Attempt(3600.0, exhausted=False)


def test_a_worker_that_ran_long_is_restarted_at_once() -> None:
    assert ENGINE.next_attempt([], 10_000.0) == Attempt(10_000.0, exhausted=False)
    assert ENGINE.next_attempt([100.0], 10_000.0) == Attempt(10_000.0, exhausted=False)


def test_a_delay_shrinks_when_restarts_leave_the_window() -> None:
    # At 3 780 s three are left: the delay is then 240 s after 3 600 s, not 480 s.
    assert ENGINE.next_attempt([60.0, 180.0, 420.0, 900.0, 3600.0], 3601.0).at == 3840.0


def test_budget_left_counts_down_and_comes_back() -> None:
    restarts = [0.0, 60.0, 180.0, 420.0]
    assert ENGINE.budget_left(restarts, 500.0) == 1  # what a supervisor started then has left
    assert ENGINE.budget_left(restarts, 4000.0) == 4
    assert ENGINE.budget_left([*restarts, 430.0, 440.0], 500.0) == 0


@given(policies, st.lists(st.tuples(seconds, st.floats(0, 1)), max_size=40))
def test_no_window_ever_holds_more_than_the_budget(
    policy: RestartPolicy, lives: list[tuple[float, float]]
) -> None:
    now, restarts = 0.0, []
    for life, jitter in lives:
        now = policy.next_attempt(restarts, now + life, jitter).at
        restarts.append(now)
    if policy.budget:
        for end in restarts:
            held = [moment for moment in restarts if moment <= end < moment + policy.window]
            assert len(held) <= policy.budget


@given(policies, histories, seconds, seconds)
def test_asking_later_never_gives_an_earlier_time(
    policy: RestartPolicy, history: list[float], now: float, later: float
) -> None:
    first = policy.next_attempt(history, now)
    second = policy.next_attempt(history, now + later)
    assert first.at >= now
    assert second.at >= first.at


@given(policies, histories, seconds, st.floats(0, 1))
def test_asking_is_not_spending(policy: RestartPolicy, history: list[float], now: float, jitter: float) -> None:
    before = list(history)
    first = policy.next_attempt(history, now, jitter)
    assert history == before
    assert policy.next_attempt(history, now, jitter) == first
    assert policy.next_attempt(history, first.at, jitter).at == first.at


@given(policies, histories, seconds, st.floats(0, 1))
def test_the_answer_fulfils_the_definition_and_nothing_earlier_does(
    policy: RestartPolicy, history: list[float], now: float, jitter: float
) -> None:
    def due(moment: float) -> bool:
        count = sum(moment < made + policy.window for made in history)
        delay = policy.delays[min(count, len(policy.delays) - 1)] * (1 + policy.jitter * jitter)
        affordable = policy.budget == 0 or count < policy.budget
        return affordable and (not history or moment >= max(history) + delay)

    answer = policy.next_attempt(history, now, jitter)
    assert due(answer.at)
    count_now = sum(now < made + policy.window for made in history)
    assert answer.exhausted == (policy.budget > 0 and count_now >= policy.budget)
    probes = [now, *(made + policy.window for made in history)]
    probes += [(now + answer.at) / 2, now + (answer.at - now) * 0.99]
    assert not any(due(probe) for probe in probes if now <= probe < answer.at)
