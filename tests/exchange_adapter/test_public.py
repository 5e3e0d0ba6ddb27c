"""What REST tells of the present: newest trades, best prices, the forming bar."""

from __future__ import annotations

import pytest

from levibot.errors import ExchangeRefusedError, MalformedAnswerError
from levibot.exchange import public
from levibot.exchange.public import best_prices, newest_bars, recent_trades
from levibot.exchange.session import ExchangeSession
from levibot.market.bars import MINUTE_MS
from tests.exchange_adapter.conftest import KLINES, SYMBOL, House

ETH = "ETH/USDT"


def test_newest_trades_are_those_of_the_market_in_their_order(house: House) -> None:
    async def scenario(session: ExchangeSession) -> None:
        found = await recent_trades(session, SYMBOL)
        truth = house.exchange.journal.trades[SYMBOL]
        assert found
        assert [trade.event_ms for trade in found] == sorted(trade.event_ms for trade in found)
        told = {(trade.time_ms, float(trade.price), float(trade.amount)) for trade in truth}
        assert {(trade.event_ms, trade.price, trade.amount) for trade in found} <= told
        assert all((trade.id is not None) == session.quirks.trade_ids for trade in found)

    house.play(scenario)


@pytest.mark.parametrize("few", [2, 1])
def test_best_prices_of_few_and_of_many(house: House, few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(public, "_FEW", few)

    async def scenario(session: ExchangeSession) -> dict[str, tuple[float, float]]:
        return await best_prices(session, [SYMBOL, ETH])

    prices = house.play(scenario)
    assert set(prices) == {SYMBOL, ETH}
    assert all(0 < bid < ask for bid, ask in prices.values())


def test_the_forming_bar_is_the_newest(house: House) -> None:
    async def scenario(session: ExchangeSession) -> None:
        from_ms = session.exchange_ms() // MINUTE_MS * MINUTE_MS - 2 * MINUTE_MS
        bars = await newest_bars(session, SYMBOL, from_ms)
        assert [bar.open_ms for bar in bars][:3] == [from_ms + index * MINUTE_MS for index in range(3)]

    house.play(scenario)


def test_answers_that_make_no_sense_are_refused(house: House) -> None:
    async def scenario(session: ExchangeSession) -> None:
        house.exchange.arm("null_rows", KLINES)
        with pytest.raises(MalformedAnswerError):
            await newest_bars(session, SYMBOL, session.exchange_ms() // MINUTE_MS * MINUTE_MS)
        with pytest.raises(ExchangeRefusedError):
            await recent_trades(session, "NONE/USDT")

    house.play(scenario)
