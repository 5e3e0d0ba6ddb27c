"""Judging workers: heartbeat and psutil together, with injected times."""

from __future__ import annotations

from dataclasses import replace

import pytest

from levibot.config import PolicyConfig
from levibot.supervisor.health import ErrorWindow, Hearing, StallGuard, Verdict, Vitals, describe_exit, judge
from levibot.supervisor.process import Sample

POLICY = PolicyConfig()
NOW = 1_000.0
SAMPLE = Sample(rss_bytes=80_000_000, cpu_percent=1.0, descriptors=20, status="sleeping")
WELL = Vitals(started=True, since=900.0, progress=999.0, unheard=0.0, errors=0, sample=SAMPLE)


def cause(vitals: Vitals, now: float = NOW) -> str | None:
    verdict = judge(vitals, POLICY, now)
    return verdict.cause if verdict else None


def test_a_worker_that_makes_progress_is_left_alone() -> None:
    assert cause(WELL) is None


def test_no_progress_for_longer_than_the_limit_is_a_hang() -> None:
    assert cause(replace(WELL, progress=NOW - POLICY.hang_after)) is None
    assert cause(replace(WELL, progress=NOW - POLICY.hang_after - 0.1)) == "hang"


def test_a_hang_names_what_psutil_says_of_the_process() -> None:
    stopped = replace(WELL, progress=NOW - 60, sample=replace(SAMPLE, status="stopped"))
    verdict = judge(stopped, POLICY, NOW)
    assert verdict is not None
    assert "stopped" in verdict.reason
    assert not verdict.graceful


def test_a_worker_that_never_beat_hangs_from_its_hello_on() -> None:
    assert cause(replace(WELL, progress=None, since=NOW - POLICY.hang_after - 1)) == "hang"


def test_a_start_has_its_own_deadline() -> None:
    slow = replace(WELL, started=False, progress=None, since=NOW - POLICY.hang_after - 1)
    assert cause(slow) is None
    assert cause(replace(slow, since=NOW - POLICY.start_timeout - 0.1)) == "start"


def test_beating_without_market_data_that_others_receive_is_a_hang() -> None:
    assert cause(replace(WELL, unheard=2 * POLICY.hang_after)) is None
    assert cause(replace(WELL, unheard=2 * POLICY.hang_after + 0.1)) == "hang"


@pytest.mark.parametrize("heard", [None, NOW - 0.5])
def test_data_that_a_worker_does_not_hear_are_counted_from_the_first_of_them(heard: float | None) -> None:
    hearing = Hearing()
    told = [hearing.unheard(heard, NOW + second, POLICY) for second in range(100)]
    assert told[-1] == pytest.approx(99.0 if heard is None else 98.0)
    assert hearing.unheard(NOW + 99.9, NOW + 100, POLICY) == 0.0
    assert hearing.unheard(NOW + 99.9, NOW + 102, POLICY) == 0.0


def test_a_silent_market_is_no_engines_fault() -> None:
    hearing = Hearing()
    assert hearing.unheard(None, None, POLICY) == 0.0
    assert [hearing.unheard(NOW - 500, NOW - 500, POLICY) for _ in range(9)] == [0.0] * 9


def test_a_market_that_begins_after_the_engine_was_long_ready_does_not_condemn_it() -> None:
    hearing = Hearing()
    assert [hearing.unheard(None, None, POLICY) for _ in range(500)] == [0.0] * 500
    assert [hearing.unheard(None, NOW + part / 10, POLICY) for part in range(10)][-1] < 1.0
    assert hearing.unheard(NOW + 0.9, NOW + 1.0, POLICY) == 0.0


@pytest.mark.parametrize("heard", [NOW, NOW - 0.001, None])
def test_the_first_data_after_an_outage_do_not_condemn_who_has_not_told_of_them_yet(heard: float | None) -> None:
    hearing, back = Hearing(), NOW + 10 * POLICY.hang_after
    assert hearing.unheard(heard, NOW, POLICY) == 0.0
    assert hearing.unheard(heard, back, POLICY) == 0.0
    assert hearing.unheard(heard, back + 0.5, POLICY) <= 0.5
    assert hearing.unheard(back, back + 0.6, POLICY) == 0.0


def test_who_is_not_ready_need_not_hear() -> None:
    hearing = Hearing()
    hearing.unheard(None, NOW, POLICY)
    assert hearing.unheard(None, None, POLICY) == 0.0
    assert hearing.unheard(None, NOW + 99, POLICY) == 0.0


def test_an_error_spike_replaces_the_worker_gracefully() -> None:
    assert cause(replace(WELL, errors=POLICY.error_spike)) is None
    verdict = judge(replace(WELL, errors=POLICY.error_spike + 1), POLICY, NOW)
    assert verdict is not None
    assert (verdict.cause, verdict.graceful) == ("errors", True)


def test_an_error_spike_is_told_with_the_workers_own_words_for_the_error() -> None:
    verdict = Verdict("errors", "20 errors in 300 s", graceful=True)
    own = "strategy_failed: ValueError: boom"
    assert describe_exit(verdict, 0, own) == "strategy_failed: ValueError: boom (20 errors in 300 s)"
    assert describe_exit(verdict, 0, "") == "errors: 20 errors in 300 s"
    assert describe_exit(Verdict("hang", "no progress", graceful=False), -9, own) == "hang: no progress"
    assert describe_exit(None, -9, own) == "killed by signal 9"


@pytest.mark.parametrize(
    ("sample", "expected"),
    [
        (replace(SAMPLE, rss_bytes=10**10), None),  # resident memory is shared memory too
        (replace(SAMPLE, uss_bytes=int(POLICY.max_memory_mb * 1e6)), None),
        (replace(SAMPLE, uss_bytes=int(POLICY.max_memory_mb * 1e6) + 1), "memory"),
        (replace(SAMPLE, descriptors=POLICY.max_descriptors), None),
        (replace(SAMPLE, descriptors=POLICY.max_descriptors + 1), "descriptors"),
    ],
)
def test_size_limits(sample: Sample, expected: str | None) -> None:
    assert cause(replace(WELL, sample=sample)) == expected


def test_errors_leave_the_window_again() -> None:
    window = ErrorWindow(300.0)
    window.update(4, now=0.0)
    window.update(9, now=200.0)
    assert window.count(299.0) == 9
    assert window.count(300.0) == 5
    assert window.count(500.0) == 0


def test_errors_of_the_process_before_do_not_count() -> None:
    window = ErrorWindow(300.0)
    window.update(9, now=0.0)
    window.restart()
    window.update(2, now=1.0)
    assert window.count(2.0) == 2


def test_after_a_stall_of_its_own_the_supervisor_is_patient() -> None:
    guard = StallGuard(1.5)
    assert guard.may_judge(10.0)
    assert guard.may_judge(11.0)
    assert not guard.may_judge(71.0), "heartbeats still wait in the socket"
    assert not guard.may_judge(72.0)
    assert guard.may_judge(72.6)


def test_forgiven_errors_count_no_more_and_later_ones_from_there() -> None:
    window = ErrorWindow(300.0)
    window.update(50, NOW)
    window.forgive()
    window.update(50, NOW + 1)
    assert window.count(NOW + 1) == 0
    window.update(52, NOW + 2)
    assert window.count(NOW + 2) == 2
