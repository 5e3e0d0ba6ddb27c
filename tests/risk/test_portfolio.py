"""The account follows the broker's events and nothing else."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from levibot.bus.messages import Intent, OrderEvent
from levibot.execution.position import ZERO
from levibot.risk.exposure import Exposure
from levibot.risk.portfolio import AccountBehindError, Portfolio
from tests.risk.market import BTC, ETH, MORNING_MS, SECOND, Broker, intent, position, tick

AGE = 30 * SECOND


def equity(portfolio: Portfolio, now_ns: int = 0) -> Decimal | None:
    worth = portfolio.value(now_ns, AGE, MORNING_MS)
    return None if worth is None else worth.equity


def follow(*events: OrderEvent, broker: Broker | None = None) -> Portfolio:
    """A portfolio of 10 000 that has seen these events."""
    portfolio = Portfolio({})
    portfolio.restore(Broker().snapshot())
    for event in events:
        portfolio.apply(event)
    return portfolio


def test_a_round_trip_changes_cash_by_profit_and_fees() -> None:
    broker = Broker()
    entry, leave = intent("a", quantity="2"), intent("b", side="sell", quantity="2", role="exit")
    portfolio = follow(
        broker.submitted(entry),
        broker.filled(entry, "100", "0.5", fee="0.05"),
        broker.filled(intent("a", quantity="1.5"), "104", fee="0.15"),
    )
    assert portfolio.positions[BTC].quantity == 2
    assert portfolio.positions[BTC].entry_price == 103
    assert portfolio.cash == Decimal("10000") - 50 - 156 - Decimal("0.2")
    assert portfolio.book_value == Decimal("9999.8")
    portfolio.apply(broker.submitted(leave))
    portfolio.apply(broker.filled(leave, "110", fee="0.2"))
    assert portfolio.positions == {}  # a closed position is counted as closed
    assert portfolio.cash == portfolio.book_value == Decimal("10000") + 14 - Decimal("0.4")


def test_a_fee_in_the_base_asset_makes_the_position_smaller() -> None:
    broker = Broker()
    entry = intent("a", quantity="1")
    portfolio = follow(broker.submitted(entry), broker.filled(entry, "100", fee="0.001", fee_asset="BTC"))
    assert portfolio.positions[BTC].quantity == Decimal("0.999")
    assert portfolio.cash == 9900


def test_equity_is_cash_plus_positions_at_their_marks() -> None:
    portfolio = Portfolio({})
    held = (position(BTC, "2", "90"), position(ETH, "-3", "50"))
    portfolio.restore(Broker().snapshot("1000", held))
    portfolio.mark(tick(BTC, 100.0, 0))
    portfolio.mark(tick(ETH, 40.0, 0))
    assert equity(portfolio) == 1000 + 200 - 120
    assert portfolio.book_value == 1000 + 180 - 150


def test_equity_is_unknown_while_an_open_position_has_no_fresh_mark() -> None:
    portfolio = Portfolio({})
    portfolio.restore(Broker().snapshot("1000", (position(BTC, "1", "90"),)))
    assert equity(portfolio) is None
    portfolio.mark(tick(BTC, 100.0, 5 * SECOND))
    assert equity(portfolio, 35 * SECOND) == 1100
    assert portfolio.unpriced(35 * SECOND, AGE) == []
    assert equity(portfolio, 35 * SECOND + 1) is None
    assert portfolio.unpriced(35 * SECOND + 1, AGE) == [BTC]


def test_a_symbol_without_a_position_needs_no_mark() -> None:
    portfolio = Portfolio({})
    portfolio.restore(Broker().snapshot("1000", (position(BTC, "0", "0"),)))
    assert portfolio.positions == {}
    assert equity(portfolio) == 1000


def test_open_entries_count_until_they_end_and_exits_never() -> None:
    broker = Broker()
    entry = intent("a", quantity="2", limit_price="99")
    stop = intent("s", side="sell", quantity="2", role="stop")
    portfolio = follow(broker.submitted(entry), broker.submitted(stop))
    portfolio.mark(tick(BTC, 100.0, 0))
    assert portfolio.exposures().of(BTC) == Exposure(ZERO, Decimal(200), ZERO), "the dearer of limit and mark"
    assert portfolio.opening_cost() == 198
    portfolio.apply(broker.filled(entry, "99", "0.5"))
    assert portfolio.exposures().of(BTC) == Exposure(Decimal(50), Decimal(150), ZERO)
    portfolio.apply(broker.cancelled(entry))
    assert portfolio.exposures().of(BTC).gross == 50
    assert portfolio.opening_symbols == set()
    assert not portfolio.knows("a")
    assert portfolio.knows("s")


def test_an_event_is_counted_once() -> None:
    broker = Broker()
    entry = intent("a", quantity="2")
    events = [broker.submitted(entry), broker.filled(entry, "100")]
    portfolio = follow(*events)
    assert [portfolio.apply(event) for event in events] == [False, False]
    assert portfolio.positions[BTC].quantity == 2


def test_a_hole_in_the_events_is_noticed_before_anything_changes() -> None:
    broker = Broker()
    entry = intent("a", quantity="2")
    submitted, _lost, filled = broker.submitted(entry), broker.submitted(intent("b")), broker.filled(entry, "9")
    portfolio = follow(submitted)
    with pytest.raises(AccountBehindError, match="event 3 came after 1"):
        portfolio.apply(filled)
    assert portfolio.positions == {}
    assert portfolio.seq == 1


def test_nothing_is_followed_before_the_first_snapshot() -> None:
    broker = Broker()
    with pytest.raises(AccountBehindError):
        Portfolio({}).apply(broker.submitted(intent("a")))


def test_a_fill_of_an_unknown_order_is_never_guessed() -> None:
    portfolio = follow()
    with pytest.raises(AccountBehindError, match="which is not known"):
        portfolio.apply(Broker().filled(intent("a"), "100"))
    assert portfolio.cash == 10_000


def test_a_snapshot_replaces_everything() -> None:
    broker = Broker()
    entry = intent("a", quantity="2")
    portfolio = follow(broker.submitted(entry), broker.filled(entry, "100"), broker.submitted(intent("b")))
    portfolio.restore(Broker(seq=9).snapshot("500", (position(ETH, "1", "20"),), (intent("c", ETH),)))
    assert (portfolio.seq, portfolio.cash) == (9, 500)
    assert list(portfolio.positions) == [ETH]
    assert portfolio.opening_symbols == {ETH}


trades = st.lists(
    st.tuples(
        st.sampled_from(["buy", "sell"]),
        st.decimals("0.001", "10", places=3),
        st.decimals("1", "1000", places=2),
        st.decimals("0", "1", places=2),
    ),
    max_size=20,
)


@given(trades, st.integers(1, 1000))
def test_equity_at_the_mark_is_book_value_plus_unrealised_profit(
    made: list[tuple[str, Decimal, Decimal, Decimal]], mark: int
) -> None:
    broker, portfolio, cash = Broker(), follow(), Decimal(10_000)
    for number, (side, quantity, price, fee) in enumerate(made):
        order: Intent = intent(f"o{number}", side="buy" if side == "buy" else "sell", quantity=str(quantity))
        portfolio.apply(broker.submitted(order))
        portfolio.apply(broker.filled(order, str(price), fee=str(fee)))
        cash += (-quantity if side == "buy" else quantity) * price - fee
    portfolio.mark(tick(BTC, float(mark), 0))
    held = portfolio.positions.get(BTC)
    quantity = held.quantity if held else Decimal(0)
    worth = equity(portfolio)
    assert worth == cash + quantity * mark
    unrealised = quantity * (mark - held.entry_price) if held else Decimal(0)
    assert abs(worth - portfolio.book_value - unrealised) < Decimal("1e-15")
