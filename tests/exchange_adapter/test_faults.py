"""Every fault of a request: the error that it must become, what holds afterwards, and that reading goes on."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from levibot.errors import (
    BackOffError,
    CoolDownError,
    ExchangeClockError,
    ExchangeRefusedError,
    ExchangeUnavailableError,
    MalformedAnswerError,
    RetryError,
)
from levibot.exchange.session import ExchangeSession
from levibot.exchange.validation import read_ohlcv
from tests.exchange.settings import KEY, SECRET
from tests.exchange_adapter.conftest import KLINES, SYMBOL, House

ORDER = "POST /api/v3/order"
CANCEL = "DELETE /api/v3/order"
SOON_S, LATE_S = 2.0, 60.0  # when what never comes is given up, and what a slow machine may take


async def bars(session: ExchangeSession, deadline_s: float = LATE_S) -> Any:
    return await session.call(
        "data", lambda exchange: exchange.fetch_ohlcv(SYMBOL, "1m", limit=3), deadline_s=deadline_s
    )


async def checked_bars(session: ExchangeSession, deadline_s: float = LATE_S) -> Any:
    return await session.read(
        lambda exchange: exchange.fetch_ohlcv(SYMBOL, "1m", limit=3),
        lambda rows: read_ohlcv(rows, "bars"),
        deadline_s,
    )


UNAVAILABLE = [("status", {"status": status}) for status in (500, 502, 503, 504, 520)] + [
    ("hang", {}),
    ("delay", {"delay_ms": 10_000}),
    ("reset", {}),
    ("lost_answer", {}),
    ("refuse", {}),
]
MALFORMED = [("truncated", {}), ("html", {}), ("bad_json", {})]


@pytest.mark.parametrize(("kind", "details"), UNAVAILABLE)
def test_an_exchange_that_does_not_answer_is_unavailable(house: House, kind: str, details: Any) -> None:
    async def scenario(session: ExchangeSession) -> None:
        house.exchange.arm(kind, KLINES, **details)
        with pytest.raises(ExchangeUnavailableError):
            await bars(session, SOON_S)
        house.exchange.clear()
        assert len(await bars(session)) == 3

    house.play(scenario)


@pytest.mark.parametrize(("kind", "details"), MALFORMED)
def test_an_answer_that_is_none_is_malformed(house: House, kind: str, details: Any) -> None:
    async def scenario(session: ExchangeSession) -> None:
        house.exchange.arm(kind, KLINES, **details)
        with pytest.raises(MalformedAnswerError):
            await bars(session)
        house.exchange.clear()
        assert len(await bars(session)) == 3

    house.play(scenario)


def test_rows_of_nothing_are_found_by_the_check(house: House) -> None:
    async def scenario(session: ExchangeSession) -> None:
        house.exchange.arm("null_rows", KLINES)
        with pytest.raises(MalformedAnswerError, match="bars: found"):
            await checked_bars(session)

    house.play(scenario)


@pytest.mark.parametrize(("kind", "details"), [*UNAVAILABLE[::5], *MALFORMED, ("null_rows", {})])
def test_reading_goes_on_after_two_failures(house: House, kind: str, details: Any) -> None:
    async def scenario(session: ExchangeSession) -> None:
        fault = house.exchange.arm(kind, KLINES, times=2, **details)
        assert len(await checked_bars(session, SOON_S if kind == "hang" else LATE_S)) == 3
        assert fault.struck == 2

    house.play(scenario)


@pytest.mark.parametrize("method", ["fetch_ohlcv", "fetch_trades"])
def test_rows_of_nothing_since_a_time_do_not_look_like_an_empty_answer(house: House, method: str) -> None:
    """Left to itself, ccxt leaves rows without a time out."""
    path = {
        "fetch_ohlcv": KLINES,
        "fetch_trades": "GET /api/v3/aggTrades" if house.dialect == "binance" else "GET /api/v3/*rades",
    }[method]
    arguments = (SYMBOL, "1m") if method == "fetch_ohlcv" else (SYMBOL,)
    by_time = {"fetchTradesMethod": "publicGetAggTrades"}  # Binance gives no others since a time
    more = by_time if (method, house.dialect) == ("fetch_trades", "binance") else {}

    async def scenario(session: ExchangeSession) -> None:
        async def ask(exchange: Any) -> Any:
            now_ms = session.exchange_ms()
            return await getattr(exchange, method)(*arguments, now_ms - 600_000, 5, {"until": now_ms, **more})

        fault = house.exchange.arm("null_rows", path, times=1)
        with pytest.raises(MalformedAnswerError):
            await session.call("data", ask)
        assert fault.struck == 1
        assert await session.call("data", ask)

    house.play(scenario)


def test_reading_ends_after_three(house: House) -> None:
    async def scenario(session: ExchangeSession) -> None:
        fault = house.exchange.arm("status", KLINES, status=503)
        with pytest.raises(ExchangeUnavailableError):
            await checked_bars(session)
        assert fault.struck == 3

    house.play(scenario)


@pytest.mark.parametrize("status", [418, 429])
def test_too_many_requests_stop_all_processes_for_as_long_as_was_said(house: House, status: int) -> None:
    async def scenario(session: ExchangeSession) -> None:
        house.exchange.arm("status", KLINES, status=status, retry_after=60, times=1)
        with pytest.raises(CoolDownError, match=f"answered {status}") as raised:
            await checked_bars(session)  # and does not try again
        assert 50 < raised.value.wait_s <= 60
        asked = house.asked("*")
        for weight_class in ("data", "order", "protective"):
            with pytest.raises(CoolDownError):
                await session.call(weight_class, lambda exchange: exchange.fetch_time())
        with pytest.raises(CoolDownError):
            await session.exchange.fetch_time()  # not even past `call`
        assert house.asked("*") == asked

    house.play(scenario)

    async def restarted() -> None:
        for role in ("feed", "broker", "download"):
            session = house.session(role)
            try:
                asked = house.asked("*")
                with pytest.raises(BackOffError, match=f"answered {status}"):
                    await session.open()
                assert house.asked("*") == asked
            finally:
                await session.close()

    asyncio.run(restarted())


def test_another_process_that_runs_already_stops_too(house: House) -> None:
    async def scenario(feed: ExchangeSession) -> None:
        broker = house.session("broker")
        try:
            await broker.open()
            house.exchange.arm("status", KLINES, status=429, retry_after=30, times=1)
            with pytest.raises(CoolDownError):
                await bars(feed)
            while not feed.cool_down.path.exists():
                await asyncio.sleep(0.01)
            with pytest.raises(CoolDownError):
                await bars(broker)
        finally:
            await broker.close()

    house.play(scenario)


def test_without_a_time_the_cool_down_is_short_at_first_and_then_over(house: House) -> None:
    async def scenario(session: ExchangeSession) -> None:
        house.exchange.arm("status", KLINES, status=429, times=1)
        with pytest.raises(CoolDownError) as raised:
            await bars(session)
        assert 4 < raised.value.wait_s <= 5
        await asyncio.sleep(session.cool_down.remaining_s() + 0.01)
        assert len(await bars(session)) == 3

    house.play(scenario)


def test_markets_that_cannot_be_read_leave_the_former_ones(house: House) -> None:
    info = "GET /api/v3/exchangeInfo"

    async def scenario(session: ExchangeSession) -> None:
        before = dict(session.markets)
        for kind in ("html", "truncated", "bad_json", "null_rows", "reset"):
            house.exchange.arm(kind, info)
            with pytest.raises(RetryError):
                await session.read_markets()
            house.exchange.clear()
        assert session.markets == before
        assert session.exchange.market(SYMBOL)["active"]
        await session.read_markets()

    house.play(scenario)
    assert not house.heard("markets")


def test_an_unknown_symbol_is_refused_for_good(house: House) -> None:
    async def scenario(session: ExchangeSession) -> None:
        with pytest.raises(ExchangeRefusedError) as raised:
            await session.call("data", lambda exchange: exchange.fetch_order_book("NO/PE", 50))
        assert raised.value.reason == "symbol"

    house.play(scenario)


# ---------------------------------------------------------------------- signed requests


def with_keys(session: ExchangeSession) -> None:
    session.exchange.apiKey, session.exchange.secret = KEY, SECRET


async def order(session: ExchangeSession, client_id: str, amount: float = 0.01) -> Any:
    """A limit order too low to fill."""
    last = house_price(await session.call("data", lambda exchange: exchange.fetch_trades(SYMBOL, limit=1)))

    async def create(exchange: Any) -> Any:
        price = exchange.price_to_precision(SYMBOL, last * 0.8)
        return await exchange.create_order(SYMBOL, "limit", "buy", amount, price, {"clientOrderId": client_id})

    return await session.call("order", create, deadline_s=LATE_S)


def house_price(trades: Any) -> float:
    return float(trades[-1]["price"])


async def find(session: ExchangeSession, client_id: str) -> Any:
    return await session.call(
        "protective", lambda exchange: exchange.fetch_order(None, SYMBOL, {"clientOrderId": client_id})
    )


@pytest.mark.parametrize("kind", ["lost_answer", "html", "truncated", "bad_json"])
def test_an_order_whose_answer_is_lost_is_never_called_refused(house: House, kind: str) -> None:
    async def scenario(session: ExchangeSession) -> None:
        with_keys(session)
        client_id = f"lost-{kind.replace('_', '')}"
        house.exchange.arm(kind, ORDER, times=1)
        with pytest.raises(RetryError):
            await order(session, client_id)
        assert (await find(session, client_id))["status"] == "open"

    house.play(scenario, role="broker")


def test_definite_refusals_have_their_reason(house: House) -> None:
    async def scenario(session: ExchangeSession) -> None:
        with_keys(session)
        with pytest.raises(ExchangeRefusedError) as poor:
            await order(session, "poor", amount=3.0)
        assert poor.value.reason == "funds"
        session.exchange.secret = "wrong"
        with pytest.raises(ExchangeRefusedError) as unknown:
            await order(session, "unknown")
        assert unknown.value.reason == "authentication"
        assert SECRET not in str(unknown.value)
        assert "signature=" not in str(unknown.value)

    house.play(scenario, role="broker")


def test_a_clock_ahead_is_measured_again_at_once(house: House) -> None:
    async def scenario(session: ExchangeSession) -> None:
        with_keys(session)
        house.exchange.arm("clock_skew", skew_ms=-5_000)
        with pytest.raises(ExchangeClockError):
            await session.call("order", lambda exchange: exchange.fetch_balance())
        async with asyncio.timeout(60):
            while session.skew_ms < 4_000:
                await asyncio.sleep(0.01)
        balance = await session.call("order", lambda exchange: exchange.fetch_balance())
        assert balance["USDT"]["total"] > 0

    house.play(scenario, role="broker")
