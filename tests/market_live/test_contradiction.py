"""Of two streams that tell the best prices, which one is dead?"""

from __future__ import annotations

from levibot.market.live.contradiction import PATIENCE_NS, Contradiction

A, B = (100.0, 101.0), (99.0, 100.0)
LATER = PATIENCE_NS + 2


def agreed() -> Contradiction:
    both = Contradiction()
    both.note("quote", A, 0)
    both.note("book", A, 0)
    return both


def test_silence_of_either_means_nothing_while_the_other_says_the_same() -> None:
    both = agreed()
    both.note("book", A, LATER)
    assert both.silent(2 * LATER) is None
    both.note("quote", A, 3 * LATER)
    assert both.silent(5 * LATER) is None


def test_the_one_that_does_not_follow_is_dead() -> None:
    both = agreed()
    both.note("quote", B, 1)
    assert both.silent(PATIENCE_NS) is None
    assert both.silent(LATER) == "book"
    both = agreed()
    both.note("book", B, 1)
    assert both.silent(LATER) == "quote"


def test_the_one_that_follows_is_not() -> None:
    both = agreed()
    both.note("quote", B, 1)
    both.note("book", B, 2)
    assert both.silent(2 * LATER) is None


def test_a_book_may_skip_what_lasted_a_moment() -> None:
    both = agreed()
    both.note("quote", B, 1)
    both.note("quote", A, 2)
    assert both.silent(2 * LATER) is None


def test_best_prices_that_were_never_told_are_missed_even_if_the_old_ones_return() -> None:
    both = agreed()
    both.note("book", B, LATER)
    both.note("book", A, LATER + 1)
    assert both.silent(2 * LATER) == "quote"


def test_a_book_that_is_late_shows_best_prices_of_a_moment_ago() -> None:
    both = agreed()
    both.note("quote", B, 1)
    both.note("quote", A, 2)
    both.note("book", B, 3)
    both.note("book", A, 4)
    assert both.silent(2 * LATER) is None


def test_prices_that_return_do_not_excuse_a_long_silence() -> None:
    both = agreed()
    for at_ns in range(0, 4 * PATIENCE_NS, PATIENCE_NS):
        both.note("quote", B, at_ns)
        both.note("quote", A, at_ns + PATIENCE_NS // 2)
    assert both.silent(4 * PATIENCE_NS) == "book"


def test_two_streams_that_both_go_on_never_contradict_each_other() -> None:
    both = Contradiction()
    for at_ms in range(0, 60_000, 100):
        both.note("quote", (float(at_ms + 1), float(at_ms + 2)), at_ms * 1_000_000)
        assert both.silent(at_ms * 1_000_000) is None
        both.note("book", (float(at_ms), float(at_ms + 1)), at_ms * 1_000_000)  # always behind
        assert both.silent(at_ms * 1_000_000) is None


def test_a_book_that_has_not_come_yet_contradicts_nothing() -> None:
    both = Contradiction()
    both.note("quote", A, 0)
    both.note("quote", B, 1)
    assert both.silent(LATER) is None


def test_best_prices_that_never_came_are_measured_by_the_first_book() -> None:
    both = Contradiction()
    both.note("book", A, 0)
    both.note("book", B, 1)
    assert both.silent(LATER) == "quote"
