"""Round trips: where they begin and end, what they earned, and that nothing is earned outside of them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from levibot.bus.messages import Fill, OrderFilled, OrderPartiallyFilled, OrderSubmitted
from levibot.reports.history import SymbolHistory
from levibot.reports.round_trips import exit_reason
from tests.execution.examples import SYMBOL, D, entry


class Tape:
    """Events of one symbol, as a broker numbers them."""

    def __init__(self) -> None:
        self.history = SymbolHistory(SYMBOL)
        self.seq = 0

    def order(self, side: str, fills: list[tuple[str, str]], *, fee_asset: str = "USDT", **changed: Any) -> None:
        """An order that is filled in parts, a minute after the one before."""
        quantity = str(sum(Decimal(amount) for amount, _ in fills))
        intent = entry(quantity, side=side, granted=False, **changed)  # type: ignore[arg-type]
        self._apply(OrderSubmitted, intent.client_id, intent=intent)
        for number, (amount, price) in enumerate(fills, 1):
            fee = D(amount) / 1000 if fee_asset == "BTC" else D(amount) * D(price) / 1000
            fill = Fill(f"f{self.seq}", D(amount), D(price), fee, fee_asset, "taker")
            self._apply(OrderFilled if number == len(fills) else OrderPartiallyFilled, intent.client_id, fill=fill)

    def _apply(self, kind: Any, client_id: str, **fields: Any) -> None:
        self.seq += 1
        self.history.apply(
            kind(
                seq=self.seq,
                symbol_seq=self.seq,
                symbol=SYMBOL,
                client_id=client_id,
                event_ms=self.seq * 60_000,
                recorded_ms=0,
                **fields,
            )
        )


def test_entries_and_exits_in_parts_are_averaged() -> None:
    tape = Tape()
    tape.order("buy", [("1", "100"), ("3", "104")])
    tape.order("sell", [("2", "110")], role="take_profit")
    assert tape.history.trips.closed == []
    tape.order("sell", [("1", "90"), ("1", "80")], role="stop")
    (trip,) = tape.history.trips.closed
    assert (trip.entry_price, trip.exit_price, trip.quantity) == (D(103), D("97.5"), D(4))
    assert trip.pnl == D("-22") - D("0.412") - D("0.390")
    assert (trip.side, trip.exit_reason, trip.remainder) == ("long", "stop", 0)


def test_what_is_too_small_to_be_sold_ends_a_round_trip_and_is_told() -> None:
    tape = Tape()
    tape.order("buy", [("1", "100")], fee_asset="BTC")
    tape.order("sell", [("0.9985", "110")])
    (trip,) = tape.history.trips.closed
    assert trip.remainder == D("0.0005")
    tape.order("buy", [("1", "100")])
    assert len(tape.history.trips.closed) == 1
    assert tape.history.trips.open(tape.history.tally.position) is not None


def test_an_exit_in_parts_whose_last_is_small_is_one_round_trip() -> None:
    tape = Tape()
    tape.order("buy", [("1", "100")])
    tape.order("sell", [("0.995", "110"), ("0.005", "120")])
    (trip,) = tape.history.trips.closed
    assert (trip.remainder, trip.quantity) == (0, 1)
    assert trip.exit_price == D("0.995") * 110 + D("0.005") * 120
    assert tape.history.trips.open(tape.history.tally.position) is None


def test_an_order_that_turns_a_position_around_ends_one_and_begins_another() -> None:
    tape = Tape()
    tape.order("buy", [("1", "100")])
    tape.order("sell", [("3", "110")])
    (trip,) = tape.history.trips.closed
    open_ = tape.history.trips.open(tape.history.tally.position)
    assert open_ is not None
    assert (trip.exit_price, open_.side, open_.quantity, open_.entry_price) == (D(110), "short", D(2), D(110))


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"role": "stop"}, "stop"),
        ({"role": "stop", "trailing_offset": D(1)}, "trailing stop"),
        ({"role": "take_profit"}, "target"),
        ({"role": "exit"}, "signal"),
        ({"role": "emergency"}, "emergency"),
        ({"role": "emergency", "kind": "limit", "limit_price": D(1)}, "flatten"),
    ],
)
def test_the_reason_of_an_end_is_told_in_the_words_of_users(changed: dict[str, Any], reason: str) -> None:
    assert exit_reason(entry("1", granted=False, **changed)) == reason


_FILLS = st.lists(
    st.tuples(st.integers(1, 500).map(lambda n: str(D(n) / 100)), st.integers(50, 150).map(str)),
    min_size=1,
    max_size=3,
)


@given(
    st.lists(
        st.tuples(st.sampled_from(["buy", "sell"]), _FILLS, st.sampled_from(["USDT", "BTC", "BNB"])), max_size=12
    )
)
def test_round_trips_add_up_to_the_realised_profit(orders: list[tuple[str, list[tuple[str, str]], str]]) -> None:
    tape = Tape()
    for side, fills, fee_asset in orders:
        tape.order(side, fills, fee_asset=fee_asset)
    history = tape.history
    position = history.tally.position
    open_ = history.trips.open(position)
    parts = [trip.pnl for trip in history.trips.closed] + ([open_.pnl] if open_ else [])
    assert abs(sum(parts) - position.realized_pnl) < D("1e-18")
    assert abs(sum(fill.realized_pnl for fill in history.fills) - position.realized_pnl) < D("1e-18")
