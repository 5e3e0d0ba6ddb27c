"""When is a market that was stale live again?"""

from __future__ import annotations

from levibot.market.live.probation import Probation

SECOND = 1_000_000_000


def test_the_first_recovery_counts_at_once() -> None:
    probation = Probation(4 * SECOND)
    probation.fail(SECOND)
    assert probation.passes(2 * SECOND)


def test_after_a_relapse_it_must_be_sound_for_longer_than_a_dead_stream_stays_unnoticed() -> None:
    probation = Probation(4 * SECOND)
    probation.fail(SECOND)
    assert probation.passes(2 * SECOND)
    probation.fail(5 * SECOND)
    assert not probation.passes(6 * SECOND)
    assert not probation.passes(10 * SECOND)
    probation.interrupt()
    assert not probation.passes(12 * SECOND)
    assert not probation.passes(16 * SECOND)
    assert probation.passes(17 * SECOND)


def test_an_old_recovery_was_one() -> None:
    probation = Probation(4 * SECOND)
    probation.fail(SECOND)
    assert probation.passes(2 * SECOND)
    probation.fail(90 * SECOND)
    assert probation.passes(91 * SECOND)
