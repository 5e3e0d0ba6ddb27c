"""A trade counts once, however often it comes, and what cannot be told from another is refused."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from levibot.exchange.validation import PublicTrade
from levibot.market.live.trade_log import TradeLog

NOW_MS = 1_700_000_000_000


def plain(at_ms: int, price: float = 1.0) -> PublicTrade:
    return PublicTrade(None, NOW_MS + at_ms, "buy", price, 1.0)


def numbered(number: int, at_ms: int = 0) -> PublicTrade:
    return PublicTrade(str(number), NOW_MS + at_ms, "buy", 1.0, 1.0)


def test_alike_trades_of_one_frame_are_different_and_those_of_a_repeated_frame_are_not() -> None:
    log = TradeLog()
    assert len(log.take([plain(1), plain(1)], NOW_MS)) == 2
    assert log.take([plain(1), plain(1)], NOW_MS) == []
    assert log.take([plain(1), plain(1), plain(1)], NOW_MS) == [plain(1)]
    assert log.duplicates == 4


def test_an_answer_that_overlaps_is_not_counted_as_trouble() -> None:
    log = TradeLog()
    log.begin(NOW_MS)
    log.take([numbered(1)], NOW_MS)
    assert log.take([numbered(9, -10_000_000), numbered(1), numbered(2)], NOW_MS, repeated=True) == [numbered(2)]
    assert (log.duplicates, log.late) == (0, 0)


def test_an_exchange_that_counts_anew_is_believed() -> None:
    log = TradeLog()
    assert len(log.take([numbered(1), numbered(2, 10)], NOW_MS)) == 2
    assert len(log.take([numbered(1, 30_000), numbered(2, 30_010)], NOW_MS + 30_000)) == 2
    assert log.take([numbered(1, 30_000), numbered(2, 30_011)], NOW_MS + 30_000) == []
    log.take([numbered(9, 300_000), numbered(10, 400_000)], NOW_MS + 400_000)
    log.forget()
    assert log.floor_ms > NOW_MS + 30_010


@given(st.lists(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 2)), max_size=6), max_size=8), st.booleans())
def test_frames_that_repeat_bring_each_trade_as_often_as_the_fullest_of_them(
    shapes: list[list[tuple[int, int]]], with_ids: bool
) -> None:
    frames = [[plain(at, float(price)) for at, price in frame] for frame in shapes]
    if with_ids:
        frames = [[one._replace(id=f"{one.event_ms}-{one.price}") for one in frame] for frame in frames]
    log = TradeLog()
    taken = Counter(one for frame in [*frames, *frames] for one in log.take(frame, NOW_MS))
    expected: Counter[PublicTrade] = Counter()
    for frame in frames:
        expected |= Counter(frame)
    assert taken == (Counter(set(expected)) if with_ids else expected)


@given(st.lists(st.integers(-400_000, 400_000), min_size=1, max_size=60))
def test_nothing_is_taken_twice_however_late_it_comes_again(times: list[int]) -> None:
    log = TradeLog()
    taken: list[PublicTrade] = []
    for at_ms in [*times, *times]:
        taken += log.take([numbered(at_ms + 400_000, at_ms)], NOW_MS + 400_000)
        log.forget()
    assert len(taken) == len(set(taken))
    newest_ms = max(times)
    in_the_window = {one for one in times if one > newest_ms - 120_000}
    assert in_the_window <= {one.event_ms - NOW_MS for one in taken}


def test_the_window_is_kept_open_for_a_break_but_not_beyond_all_bounds() -> None:
    log = TradeLog()
    log.take([numbered(1, 0)], NOW_MS)
    log.take([numbered(2, 600_000)], NOW_MS + 600_000)
    log.forget(NOW_MS - 1_000)
    assert log.take([numbered(3, 10)], NOW_MS + 600_000) == [numbered(3, 10)]
    log.take([numbered(number, number % 100_000) for number in range(10, 100_010)], NOW_MS + 600_000)
    log.forget(NOW_MS - 1_000)
    assert log.floor_ms > NOW_MS
    assert log.take([numbered(1, 0)], NOW_MS + 600_000) == []
    assert log.late == 1


def test_a_silent_market_forgets_nothing() -> None:
    log = TradeLog()
    log.take([numbered(1)], NOW_MS)
    log.forget()
    assert log.take([numbered(1)], NOW_MS + 10_000_000) == []
    assert log.duplicates == 1


@pytest.mark.parametrize("bad", [plain(60_001), plain(0, float("nan")), plain(0, -1.0), plain(0, float("inf"))])
def test_what_is_no_trade_of_now_is_refused(bad: PublicTrade) -> None:
    log = TradeLog()
    assert log.take([bad, plain(0)], NOW_MS) == [plain(0)]
    assert log.refused == 1
