"""Retries that back off, and the limit that makes a storm a summary."""

from __future__ import annotations

import pytest

from levibot.alerting.pace import BURST, LONGEST_RETRY, Pace, retry_delay


@pytest.mark.parametrize(
    ("failures", "jitter", "delay"), [(1, 1.0, 1.0), (1, 0.0, 0.5), (4, 1.0, 8.0), (99, 1.0, 600.0)]
)
def test_delays_double_up_to_a_limit(failures: int, jitter: float, delay: float) -> None:
    assert retry_delay(failures, jitter) == delay


def test_a_failure_blocks_and_a_success_frees() -> None:
    pace = Pace()
    pace.failed(100.0, 1.0)
    assert pace.allowed(100.5) == 0
    assert pace.allowed(101.0) == BURST
    pace.failed(101.0, 1.0)
    assert pace.failing_since == 100.0
    assert pace.allowed(102.9) == 0
    pace.succeeded()
    assert pace.failing_since is None
    assert pace.allowed(103.0) == BURST


def test_messages_are_allowed_in_a_burst_and_then_so_many_a_minute() -> None:
    pace = Pace()
    for _ in range(int(BURST)):
        assert pace.allowed(0.0)
        pace.spend()
    assert pace.allowed(0.0) == 0
    assert pace.allowed(6.1) == 1
    assert pace.allowed(LONGEST_RETRY) == BURST
