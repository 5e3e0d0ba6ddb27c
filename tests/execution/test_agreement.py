"""Whatever happens, ledger and broker agree, money adds up, and a restart changes nothing."""

from __future__ import annotations

import tempfile
from decimal import Decimal
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from levibot.bus.messages import OrderFilled, OrderPartiallyFilled, OrderSubmitted, Reconciled
from levibot.execution.ledger import Ledger
from levibot.execution.position import unrealized_pnl
from tests.execution.examples import SYMBOL, D, Desk, entry, leave, tick

_PRICE = st.integers(5_000, 15_000).map(lambda cents: cents / 100)
_SIZE = st.integers(1, 40_000).map(lambda thousandth: str(D(thousandth) / 1000))
_STEPS = st.one_of(
    st.tuples(st.just("price"), _PRICE),
    st.tuples(st.just("enter"), _SIZE),
    st.tuples(st.just("protected"), _SIZE),
    st.tuples(st.just("limit"), _SIZE),
    st.tuples(st.just("leave"), _SIZE),
    st.tuples(st.just("restart"), st.none()),
    st.tuples(st.just("reconcile"), st.none()),
)


def _act(desk: Desk, action: str, value: float | str | None, price: float) -> list[object]:
    mark, size = D(str(price)), str(value)
    match action:
        case "price":
            return list(desk.exchange.on_tick(tick(float(size))))
        case "enter":
            return list(desk.exchange.submit(entry(size)))
        case "protected":
            protected = entry(size, stop_loss=mark * D("0.95"), take_profit=mark * D("1.05"))
            return list(desk.exchange.submit(protected))
        case "limit":
            return list(desk.exchange.submit(entry(size, kind="limit", limit_price=mark * D("0.98"))))
        case "leave":
            return list(desk.exchange.submit(leave(size)))
    return []


def _answer(desk: Desk, since: int) -> Reconciled:
    books = desk.books
    open_orders = [order.intent for order in books.resting.get(SYMBOL, {}).values()]
    seq = books.symbol_seq.get(SYMBOL, 0)
    return Reconciled(1, SYMBOL, seq, books.events_of(SYMBOL, since), books.position(SYMBOL), open_orders, [])


@settings(max_examples=60, deadline=None)
@given(st.lists(_STEPS, min_size=1, max_size=30))
def test_ledger_and_broker_agree_after_anything(steps: list[tuple[str, float | str | None]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        desk, price = Desk(folder / "broker.sqlite"), 100.0
        ledger = Ledger.open(folder / "ledger.sqlite", SYMBOL, "test")
        desk.price(price)
        for action, value in steps:
            events = _act(desk, action, value, price)
            if action == "price":
                price = float(str(value))
            elif action == "restart":
                desk.restart()
                desk.price(price)
                ledger.close()
                ledger = Ledger.open(folder / "ledger.sqlite", SYMBOL, "test")
            if action == "reconcile" or events:
                assert ledger.reconcile(_answer(desk, ledger.last_seq)).drift == 0
            _check(desk, ledger, D(str(price)))
        desk.books.close()
        ledger.close()


def _check(desk: Desk, ledger: Ledger, mark: Decimal) -> None:
    books, position = desk.books, desk.books.position(SYMBOL)
    ledger.reconcile(_answer(desk, ledger.last_seq))
    assert ledger.position == position
    assert set(ledger.open_ids()) == set(books.open)
    assert ledger.irregular == 0
    assert books.cash >= 0
    assert position.quantity >= 0
    equity = books.cash + position.quantity * mark
    profit = position.realized_pnl + unrealized_pnl(position, mark)
    assert abs(equity - D(10_000) - profit) < D("0.000001")
    events = books.events_since(0)
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    submitted = [event.client_id for event in events if isinstance(event, OrderSubmitted)]
    assert len(submitted) == len(set(submitted))
    fills = [event.fill.fill_id for event in events if isinstance(event, OrderFilled | OrderPartiallyFilled)]
    assert len(fills) == len(set(fills))
    protecting = sum(order.remaining for order in books.open.values() if order.intent.role == "stop")
    assert not (protecting and not position.quantity)
