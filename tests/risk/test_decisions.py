"""What is granted, what is refused, and why."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from levibot.bus.messages import Grant, RiskAnswer, RiskRefused
from levibot.config_risk import RiskConfig
from levibot.execution.grants import GrantBook
from tests.execution.examples import market
from tests.risk.market import BTC, EPOCH, ETH, KEY, SECOND, Desk, intent, only, position


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """Ten thousand in cash, BTC and ETH at 100."""
    desk = Desk(tmp_path / "risk.json")
    desk.know()
    desk.price(BTC, 100.0)
    desk.price(ETH, 100.0)
    return desk


def granted(answer: RiskAnswer) -> Grant:
    assert isinstance(answer, Grant), answer
    return answer


def refused(answer: RiskAnswer) -> str:
    """Name of the reason."""
    assert isinstance(answer, RiskRefused), answer
    return answer.reason.partition(":")[0]


def test_a_grant_is_what_the_broker_accepts(desk: Desk) -> None:
    grant = granted(desk.ask("a"))
    assert (grant.request_id, grant.client_id, grant.symbol, grant.side) == (7, "a", BTC, "buy")
    assert grant.max_quantity == 20  # a fifth of 10 000 at 100
    assert grant.expires_ns == desk.now_ns + 2 * SECOND
    order = msgspec.structs.replace(intent("a", quantity="20"), grant=grant)
    assert GrantBook(KEY, EPOCH).use(order, Decimal(20), desk.now_ns) is None
    assert GrantBook(b"another", EPOCH).use(order, Decimal(20), desk.now_ns) is not None


def test_nothing_is_granted_before_the_broker_has_told_its_account(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "risk.json")
    desk.price(BTC, 100.0)
    assert refused(desk.ask("a")) == "account_unknown"
    desk.know()
    granted(desk.ask("a"))
    desk.risk.lost_broker()
    assert refused(desk.ask("b", ETH)) == "account_unknown"


def test_nothing_is_granted_while_events_are_missing(desk: Desk) -> None:
    desk.broker.submitted(intent("lost"))
    assert not desk.events(desk.broker.submitted(intent("x")))
    assert refused(desk.ask("a")) == "account_unknown"
    desk.know()
    granted(desk.ask("a"))


def test_events_that_come_while_the_broker_is_lost_do_not_make_it_known(desk: Desk) -> None:
    desk.risk.lost_broker()
    assert not desk.events(desk.broker.submitted(intent("x")))
    assert refused(desk.ask("a")) == "account_unknown"


def test_an_old_or_missing_price_refuses(desk: Desk) -> None:
    assert refused(desk.ask("a", "SOL/USDT")) == "no_mark"
    desk.sleep(30)
    granted(desk.ask("b"))
    desk.sleep(0.1)
    assert refused(desk.ask("c", ETH)) == "no_mark"


@pytest.mark.parametrize("price", ["0", "-1", "1E+999999"])
def test_a_price_that_is_none_refuses(desk: Desk, price: str) -> None:
    assert refused(desk.ask("a", price=price)) == "bad_price"


@pytest.mark.parametrize("price", [0.00001234, 1e-8, 1e-15])
def test_a_tiny_price_makes_a_huge_quantity_that_keeps_the_cap(desk: Desk, price: float) -> None:
    desk.price(BTC, price)
    quantity = granted(desk.ask("a", price=Decimal(str(price)))).max_quantity
    assert Decimal("1999.99") < quantity * Decimal(str(price)) <= 2000


@pytest.mark.parametrize(("asked", "quantity"), [("50", 20), ("100", 20), ("200", 10)])
def test_the_dearer_price_decides_the_size(tmp_path: Path, asked: str, quantity: int) -> None:
    desk = Desk(tmp_path / "risk.json", only())
    desk.know()
    desk.price(BTC, 100.0)
    assert granted(desk.ask("a", price=asked)).max_quantity == quantity


def test_one_order_has_one_grant(desk: Desk) -> None:
    granted(desk.ask("a"))
    assert refused(desk.ask("a")) == "already_granted"
    order = intent("b", ETH, limit_price="90")
    desk.events(desk.broker.submitted(order))
    assert refused(desk.ask("b", ETH)) == "already_granted"


def test_a_grant_counts_as_exposure_until_it_can_no_longer_be_used(desk: Desk) -> None:
    granted(desk.ask("a"))
    assert refused(desk.ask("b")) == "position_cap"
    desk.sleep(2.9)
    assert refused(desk.ask("c")) == "position_cap"
    desk.sleep(0.2)
    assert granted(desk.ask("d")).max_quantity == 20


def test_an_order_takes_over_from_its_grant(desk: Desk) -> None:
    granted(desk.ask("a"))
    order = intent("a", quantity="5", limit_price="100")
    desk.events(desk.broker.submitted(order))
    desk.sleep(10)
    assert granted(desk.ask("b")).max_quantity == 15
    desk.sleep(4)
    desk.events(desk.broker.filled(order, "100", "2"))
    assert granted(desk.ask("c")).max_quantity == 15  # 2 held, 3 open
    desk.sleep(4)
    desk.events(desk.broker.cancelled(order))
    assert granted(desk.ask("d")).max_quantity == 18


def test_a_refused_order_frees_its_grant_at_once(desk: Desk) -> None:
    granted(desk.ask("a"))
    order = intent("a", quantity="20")
    desk.events(desk.broker.submitted(order), desk.broker.cancelled(order))
    granted(desk.ask("b"))


def test_the_cap_is_on_the_position_not_on_the_order(desk: Desk) -> None:
    order = intent("a", quantity="12")
    desk.events(desk.broker.submitted(order), desk.broker.filled(order, "100"))
    assert granted(desk.ask("b")).max_quantity == 8
    desk.price(BTC, 200.0)  # equity 11 200, held 2 400
    assert refused(desk.ask("c", price="200")) == "position_cap"


def test_a_closed_position_makes_room_again(desk: Desk) -> None:
    for number in range(7):
        entry = intent(f"in{number}", quantity="20")
        leave = intent(f"out{number}", side="sell", quantity="20", role="exit")
        granted(desk.ask(f"in{number}"))
        desk.events(desk.broker.submitted(entry), desk.broker.filled(entry, "100"))
        desk.events(desk.broker.submitted(leave), desk.broker.filled(leave, "100"))
    assert granted(desk.ask("again")).max_quantity == 20


def test_at_most_so_many_positions_with_orders_and_grants_counted(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "risk.json", RiskConfig(max_positions=3, position_cap=0.1))
    symbols = [f"{name}/USDT" for name in "ABCD"]
    desk.know("10000", position(symbols[0], "1", "100"), orders=(intent("o", symbols[1], limit_price="90"),))
    for symbol in symbols:
        desk.price(symbol, 100.0)
    granted(desk.ask("c", symbols[2]))
    assert refused(desk.ask("d", symbols[3])) == "max_positions"
    granted(desk.ask("a", symbols[0]))  # more of what is open is no new position
    desk.sleep(4)
    granted(desk.ask("d2", symbols[3]))


def test_the_other_side_of_an_open_position_is_no_entry(desk: Desk) -> None:
    desk.know("9000", position(BTC, "1", "100"))
    assert refused(desk.ask("a", side="sell")) == "opposite_position"
    desk.know("9000", position(BTC, "-1", "100"))
    assert refused(desk.ask("b", side="buy")) == "opposite_position"


def test_buys_never_promise_the_same_cash_twice(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "risk.json", only(position_cap=0.6))
    desk.know()
    for symbol in (BTC, ETH, "SOL/USDT"):
        desk.price(symbol, 100.0)
    first, second = granted(desk.ask("a")), granted(desk.ask("b", ETH))
    assert first.max_quantity == 60
    assert Decimal("39.7") < second.max_quantity < 40  # fee and slippage come on top
    third = granted(desk.ask("c", "SOL/USDT"))
    assert third.max_quantity < Decimal("0.3")
    desk.know("0", position(BTC, "100", "100"))
    assert refused(desk.ask("d", ETH)) == "no_cash"


def test_a_short_entry_is_capped(desk: Desk) -> None:
    desk.know("10000", orders=(intent("o", ETH, side="sell", quantity="5", limit_price="110"),))  # 550
    assert granted(desk.ask("a", side="sell")).max_quantity == 20
    assert granted(desk.ask("b", ETH, side="sell")).max_quantity == Decimal("14.5")
    assert refused(desk.ask("c", side="sell")) == "position_cap"


def test_a_short_needs_free_cash_as_the_broker_sees_it(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "risk.json", only(position_cap=0.6))
    desk.know("14000", position(ETH, "-40", "100"))  # 4 000 of proceeds, and as much again, are set aside
    for symbol in (BTC, ETH, "SOL/USDT"):
        desk.price(symbol, 100.0)
    first = granted(desk.ask("a", side="sell"))
    assert Decimal("59.7") < first.max_quantity <= 60
    assert granted(desk.ask("b", "SOL/USDT", side="sell")).max_quantity < Decimal("0.3")


def test_without_equity_nothing_is_opened(desk: Desk) -> None:
    desk.know("-1")
    assert refused(desk.ask("a")) == "no_equity"


def test_refusals_are_counted_by_name(desk: Desk) -> None:
    desk.ask("a")
    desk.ask("a")
    desk.ask("a")
    desk.ask("b", "SOL/USDT")
    assert desk.risk.granted == 1
    assert desk.risk.refusals == {"already_granted": 2, "no_mark": 1}


def test_it_knows_whether_it_has_seen_what_the_engine_saw(desk: Desk) -> None:
    desk.price(BTC, 100.0, seq=8)
    assert desk.risk.has_seen(BTC, 1, 8)
    assert not desk.risk.has_seen(BTC, 1, 9)
    assert not desk.risk.has_seen("SOL/USDT", 1, 1)
    assert desk.risk.has_seen("SOL/USDT", 0, 0)


@pytest.mark.parametrize("price", [float("nan"), float("inf"), 0.0, -1.0])
def test_a_tick_without_a_price_is_counted_and_left_out(desk: Desk, price: float) -> None:
    desk.price(BTC, price)
    assert desk.risk.bad_ticks == 1
    assert granted(desk.ask("a")).max_quantity == 20


asks = st.lists(
    st.tuples(
        st.integers(0, 6),  # symbol
        st.floats(0, 3),  # seconds until then
        st.sampled_from(["nothing", "fill", "cancel"]),  # fate of the order
        st.decimals("50", "200", places=2),  # what the engine thinks the price is
    ),
    max_size=25,
)


@settings(max_examples=40)
@given(asks=asks)
def test_whatever_is_asked_limits_hold_even_if_every_grant_is_used(
    tmp_path_factory: pytest.TempPathFactory, asks: list[tuple[int, float, str, Decimal]]
) -> None:
    desk = Desk(tmp_path_factory.mktemp("risk") / "risk.json", only(mark_max_age=3600.0))
    desk.know()
    symbols = [f"S{number}/USDT" for number in range(7)]
    for symbol in symbols:
        desk.price(symbol, 100.0)
    held: dict[str, Decimal] = {}
    usable: list[Grant] = []
    for number, (which, wait, fate, price) in enumerate(asks):
        desk.sleep(wait)
        usable = [grant for grant in usable if grant.expires_ns >= desk.now_ns]
        answer = desk.ask(f"o{number}", symbols[which], price=price)
        if isinstance(answer, RiskRefused):
            continue
        order = intent(answer.client_id, answer.symbol, quantity=str(answer.max_quantity))
        if fate == "nothing":
            usable.append(answer)
        else:
            desk.events(desk.broker.submitted(order))
            if fate == "fill":
                desk.events(desk.broker.filled(order, "100"))
                held[answer.symbol] = held.get(answer.symbol, Decimal(0)) + answer.max_quantity
            else:
                desk.events(desk.broker.cancelled(order))
        worst = dict(held)
        for grant in usable:
            worst[grant.symbol] = worst.get(grant.symbol, Decimal(0)) + grant.max_quantity
        assert len(worst) <= 5
        assert all(quantity * 100 <= 2000 for quantity in worst.values())
        assert sum(worst.values()) * 100 <= 10_000


def test_a_price_of_the_feed_before_does_not_pass_for_the_one_that_the_engine_saw(desk: Desk) -> None:
    desk.price(BTC, 100.0, seq=8)
    assert not desk.risk.has_seen(BTC, 2, 1), "the feed was started again, and counts from 1"


def test_a_halted_or_stale_market_gets_no_grant_until_it_is_well_again_and_no_other_suffers(desk: Desk) -> None:
    halted = msgspec.structs.replace(market(BTC), active=False)
    for number, (rules, stale, name) in enumerate(
        [
            (halted, "", "market_inactive"),
            (halted, "silent", "market_inactive"),
            (market(BTC), "silent", "market_stale"),
            (None, "silent", "market_stale"),
        ]
    ):
        desk.risk.set_market(BTC, rules, stale)
        assert refused(desk.ask(f"a{number}")) == name
        assert desk.risk.status.state == "ACTIVE"
    assert stale in desk.ask("why").reason  # type: ignore[union-attr]
    granted(desk.ask("b", ETH))
    desk.risk.set_market(BTC, market(BTC), "")
    granted(desk.ask("c"))
    assert desk.risk.refusals["market_inactive"] == 2
