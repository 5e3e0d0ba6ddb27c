"""Each part of a position belongs to the entry that it came from, and is on disk with the fill."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from levibot.bus.messages import Fill, Intent
from levibot.execution.books import Books
from levibot.execution.lots import Lot, Lots, after_fill, held, less
from tests.execution.examples import SYMBOL, D, entry, leave

A = Lot("a", D(2), D(90), D(120), None)
B = Lot("b", D(3), D(80), None, None)


def filled(books: Books, intent: Intent, quantity: str, price: str, fee: str = "0", asset: str = "USDT") -> None:
    """Book a fill of an order, which is submitted first if it is new."""
    with books.transaction(1):
        order = books.open.get(intent.client_id) or books.submit(intent, intent)
        books.fill(order, Fill(f"f{books.seq}", D(quantity), D(price), D(fee), asset, "taker"))


def test_fills_of_one_entry_make_one_lot() -> None:
    intent = entry("5", stop_loss=D(90), take_profit=D(120))
    lots = after_fill((), intent, D(100), D(0), D(2))
    lots = after_fill(lots, intent, D(101), D(2), D(5))
    assert lots == (Lot(intent.client_id, D(5), D(90), D(120), None),)


def test_a_trailing_stop_alone_begins_as_a_stop_at_its_distance() -> None:
    intent = entry("1", trailing_stop=D(7))
    (lot,) = after_fill((), intent, D(100), D(0), D(1))
    assert (lot.stop, lot.trail) == (D(93), D(7))


@pytest.mark.parametrize(
    ("quantity", "first", "left"),
    [("1", None, (("a", 1), ("b", 3))), ("4", None, (("b", 1),)), ("4", "b", (("a", 1),)), ("9", None, ())],
)
def test_an_exit_takes_from_the_lot_of_its_entry_then_from_the_oldest(
    quantity: str, first: str | None, left: tuple[tuple[str, int], ...]
) -> None:
    assert [(lot.entry_id, int(lot.quantity)) for lot in less((A, B), D(quantity), first)] == list(left)


def test_a_position_that_changes_its_side_has_nothing_left_of_what_it_was() -> None:
    turn = entry("7", side="sell", stop_loss=D(110))
    assert after_fill((A, B), turn, D(100), D(5), D(-2)) == (Lot(turn.client_id, D(2), D(110), None, None),)


def test_lots_are_on_disk_with_the_fill_and_a_fee_in_the_base_asset_is_taken_off(tmp_path: Path) -> None:
    books = Books(tmp_path / "broker.sqlite", "test", "USDT", D(1000))
    first, second = entry("1", stop_loss=D(90)), entry("2", stop_loss=D(95), take_profit=D(130))
    filled(books, first, "1", "100", fee="0.001", asset="BTC")
    filled(books, second, "2", "100")
    filled(books, leave("0.5", parent_id=second.client_id), "0.5", "110")
    books.close()
    books = Books(tmp_path / "broker.sqlite", "test", "USDT", D(1000))
    assert books.lots[SYMBOL] == (
        Lot(first.client_id, D("0.999"), D(90), None, None),
        Lot(second.client_id, D("1.5"), D(95), D(130), None),
    )
    books.close()


def test_a_fill_that_is_rolled_back_leaves_no_lot(tmp_path: Path) -> None:
    books = Books(tmp_path / "broker.sqlite", "test", "USDT", D(1000))

    def fail() -> None:
        with books.group():
            filled(books, entry("1", stop_loss=D(90)), "1", "100")
            raise RuntimeError("the disk")

    with pytest.raises(RuntimeError):
        fail()
    assert books.lots == {}
    books.close()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abcx"), st.integers(1, 9)), max_size=12))
def test_lots_always_make_up_the_position(fills: list[tuple[str, int]]) -> None:
    lots: Lots = ()
    size = Decimal(0)
    for name, quantity in fills:
        after = max(size - quantity, Decimal(0)) if name == "x" else size + quantity
        order = leave("1") if name == "x" else entry("1", client_id=name, stop_loss=D(9))
        lots = after_fill(lots, order, D(10), size, after)
        size = after
        assert held(lots) == size
        assert all(lot.quantity > 0 for lot in lots)
