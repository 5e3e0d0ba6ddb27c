"""Ids that are skipped are missed a moment later, unless they come, or the exchange does not have them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from levibot.market.live.sequence import IdSequence

LATER_NS = 10**9


@given(st.permutations(range(1, 12)), st.sets(st.integers(1, 11)))
def test_what_never_came_is_missed_and_nothing_else(order: list[int], lost: set[int]) -> None:
    sequence = IdSequence()
    sequence.follow("0", 0, 0)
    came = [number for number in order if number not in lost]
    for number in came:
        sequence.follow(str(number), 10 * number, 0)
    missed = [number for number in lost if number < max(came, default=0)]
    assert (sequence.suspect_from_ms is None) == (not missed)
    assert sequence.give_up(0) is None  # they may still come
    lost_ms = sequence.give_up(LATER_NS)
    assert (lost_ms is None) == (not missed)
    assert lost_ms is None or lost_ms <= 10 * min(missed)
    assert sequence.give_up(LATER_NS) is None  # told once
    assert sequence.suspect_from_ms is None


def test_ids_that_begin_again_are_no_trades_that_were_overtaken() -> None:
    sequence = IdSequence()
    sequence.follow("900", 0, 0)
    sequence.follow("1", 30_000, 0)
    sequence.follow("4", 30_010, 0)
    assert sequence.suspect_from_ms == 30_000
    assert sequence.give_up(LATER_NS) == 30_000


def test_what_the_exchange_has_not_is_not_missed_and_what_it_has_not_shown_yet_is() -> None:
    sequence = IdSequence()
    for number in (1, 4, 7):
        sequence.follow(str(number), number, 0)
    sequence.settle("5", 5)
    assert sequence.suspect_from_ms == 4
    sequence.settle("7", 7)
    assert sequence.suspect_from_ms is None


def test_an_answer_tells_where_the_stream_has_to_go_on() -> None:
    sequence = IdSequence()
    sequence.settle("41", 5)
    sequence.follow("43", 9, 0)
    assert sequence.give_up(LATER_NS) == 5


def test_ids_that_are_no_numbers_tell_nothing() -> None:
    sequence = IdSequence()
    for trade_id in ("1", "0xff", None, "²", "b-7"):
        sequence.follow(trade_id, 1, 0)
    sequence.settle("x", 1)
    assert sequence.give_up(LATER_NS) is None
