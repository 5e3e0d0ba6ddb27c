"""When are the clocks to be compared before it is time?"""

from __future__ import annotations

from itertools import pairwise

from levibot.market.live.clock_watch import ClockWatch

SECOND = 1_000_000_000


def test_lags_as_they_are_on_a_network_raise_no_suspicion() -> None:
    watch = ClockWatch()
    assert not watch.suspects([], SECOND)
    assert not watch.suspects([None, 40, 900, 30_000], SECOND)  # one symbol is quiet, the others are not
    assert not watch.suspects([-200], SECOND)


def test_frames_of_the_future_and_all_of_them_late_do() -> None:
    assert ClockWatch().suspects([40, -3_000], SECOND)
    assert ClockWatch().suspects([4_000, 5_000], SECOND)


def test_what_a_comparison_does_not_mend_is_compared_ever_less_often() -> None:
    watch = ClockWatch()
    asked = [second for second in range(1, 200) if watch.suspects([-3_000], second * SECOND)]
    assert asked[:3] == [1, 6, 16]
    assert all(later - earlier <= 60 for earlier, later in pairwise(asked))
    assert len(asked) < 10


def test_after_it_was_mended_the_next_suspicion_is_new() -> None:
    watch = ClockWatch()
    assert watch.suspects([-3_000], SECOND)
    assert watch.suspects([-3_000], 6 * SECOND)
    assert not watch.suspects([20], 30 * SECOND)
    assert watch.suspects([-3_000], 31 * SECOND)
    assert watch.suspects([-3_000], 36 * SECOND)
