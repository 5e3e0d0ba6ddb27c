"""What the real ccxt.pro makes of each thing that goes wrong with a connection or a frame."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import ccxt
import pytest

from tests.exchange.conftest import SYMBOL, Served

pytestmark = pytest.mark.long  # half a minute, mostly waiting; the other files are the short version

KEEP_ALIVE_MS = 300
TRADES = "STREAM *trade*"
DEALS = "STREAM *deals*"
DEPTH = "STREAM *depth*"


def trades_of(served: Served) -> str:
    return TRADES if served.dialect == "binance" else DEALS


async def hear(client: Any, seconds: float) -> list[tuple[Any, ...]]:
    """Trades for a while."""
    end = client.milliseconds() + seconds * 1000
    while client.milliseconds() < end:
        await client.watch_trades(SYMBOL)
    return [(t["timestamp"], t["price"], t["amount"], t["side"]) for t in client.trades[SYMBOL]]


def dials(served: Served) -> int:
    return len(served.exchange.log.streamed("open"))


def test_a_closed_connection_is_a_network_error_at_once_and_the_next_watch_redials(served: Served) -> None:
    before = dials(served)

    async def scenario(client: Any) -> None:
        await client.watch_trades(SYMBOL)
        pending = asyncio.create_task(hear(client, 5))
        await asyncio.sleep(0.1)
        served.exchange.arm("close", trades_of(served), times=1)
        with pytest.raises(ccxt.NetworkError):
            await pending
        await client.watch_trades(SYMBOL)

    served.play(scenario)
    assert dials(served) == before + 2


def test_a_drop_while_nobody_watches_is_a_silent_gap(served: Served) -> None:
    async def scenario(client: Any) -> list[tuple[Any, ...]]:
        await client.watch_trades(SYMBOL)
        served.exchange.drop_connections()
        await asyncio.sleep(0.7)
        return await hear(client, 0.5)

    heard = served.play(scenario)
    truth = [
        trade for trade in served.exchange.journal.trades[SYMBOL] if heard[0][0] <= trade.time_ms <= heard[-1][0]
    ]
    assert len(truth) > len(heard), "the gap leaves trades out, and no error said so"


def test_silence_without_pong_is_a_timeout(served: Served) -> None:
    served.exchange.arm("silent")
    fault = served.exchange.arm("no_pong", "PING")

    async def scenario(client: Any) -> None:
        with pytest.raises(ccxt.RequestTimeout):
            await asyncio.wait_for(client.watch_trades(SYMBOL), 4)

    served.play(scenario, keep_alive_ms=KEEP_ALIVE_MS)
    assert fault.struck >= 2


def test_pong_without_data_is_never_noticed(served: Served) -> None:
    fault = served.exchange.arm("silent", trades_of(served))

    async def scenario(client: Any) -> None:
        before = len(served.exchange.log.streamed("ping"))
        watching = asyncio.create_task(client.watch_trades(SYMBOL))
        while fault.struck < 3 or len(served.exchange.log.streamed("ping")) < before + 3:
            await asyncio.sleep(0.01)
        assert not watching.done()
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)

    served.play(scenario, keep_alive_ms=KEEP_ALIVE_MS)


def test_a_silence_of_the_open_connections_is_healed_by_a_redial(served: Served) -> None:
    async def scenario(client: Any) -> None:
        await client.watch_trades(SYMBOL)
        served.exchange.arm("silent", only_open=True)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(hear(client, 5), 0.8)
        served.exchange.drop_connections()
        await asyncio.sleep(0.1)
        await asyncio.wait_for(client.watch_trades(SYMBOL), 5)

    served.play(scenario)


def test_a_malformed_frame_kills_the_receive_loop_and_only_the_loop_hears(served: Served) -> None:
    heard: list[dict[str, Any]] = []

    async def scenario(client: Any) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: heard.append(context))
        await client.watch_trades(SYMBOL)
        served.exchange.arm("malformed", trades_of(served), times=1)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(hear(client, 5), 0.8)

    served.play(scenario)
    assert any("exception" in context for context in heard)


def test_a_refused_subscription(served: Served) -> None:
    """Binance says so; MEXC says so in a form that ccxt does not know, and the watch hangs for ever."""
    served.exchange.arm("refuse_subscription")

    async def scenario(client: Any) -> None:
        expected, seconds = (ccxt.ExchangeError, 20.0) if served.dialect == "binance" else (TimeoutError, 0.8)
        with pytest.raises(expected):
            await asyncio.wait_for(client.watch_trades(SYMBOL), seconds)

    served.play(scenario)


def test_an_ignored_subscription_hangs(served: Served) -> None:
    fault = served.exchange.arm("ignore_subscription")

    async def scenario(client: Any) -> None:
        watching = asyncio.create_task(client.watch_trades(SYMBOL))
        while not fault.struck:
            await asyncio.sleep(0.01)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(watching, 0.6)

    served.play(scenario)
    assert fault.struck == 1


def test_accept_then_drop_makes_ccxt_redial_without_a_pause(served: Served) -> None:
    """Some end in Python's own `ConnectionError`, which is no error of ccxt."""
    fault = served.exchange.arm("accept_then_drop", "DIAL *")

    async def scenario(client: Any) -> None:
        while fault.struck < 10:
            with pytest.raises((ccxt.NetworkError, ConnectionError)):
                await client.watch_trades(SYMBOL)

    served.play(scenario)


def test_a_refused_handshake_is_a_network_error(served: Served) -> None:
    served.exchange.arm("status", "DIAL *", status=503, times=1)

    async def scenario(client: Any) -> None:
        with pytest.raises(ccxt.NetworkError):
            await client.watch_trades(SYMBOL)

    served.play(scenario)


def test_duplicates_pass_through(served: Served) -> None:
    fault = served.exchange.arm("duplicate", trades_of(served), every=3)

    async def scenario(client: Any) -> list[tuple[Any, ...]]:
        return await hear(client, 1.2)

    heard = served.play(scenario)
    assert fault.struck >= 1
    assert max(Counter(heard).values()) == 2


def test_a_changed_order_passes_through(served: Served) -> None:
    fault = served.exchange.arm("reorder", trades_of(served), every=3)

    async def scenario(client: Any) -> list[tuple[Any, ...]]:
        return await hear(client, 1.2)

    times = [trade[0] for trade in served.play(scenario)]
    assert fault.struck >= 1
    assert times != sorted(times)


def test_a_missing_trade_leaves_a_hole_that_only_ids_show(served: Served) -> None:
    served.exchange.arm("drop_frame", trades_of(served), skip=2, times=1)

    async def scenario(client: Any) -> tuple[list[tuple[Any, ...]], list[Any]]:
        heard = await hear(client, 1.5)
        return heard, [trade["id"] for trade in client.trades[SYMBOL]]

    heard, ids = served.play(scenario)
    truth = [(t.time_ms, float(t.price), float(t.amount), t.side) for t in served.exchange.journal.trades[SYMBOL]]
    first = truth.index(heard[0])
    assert heard == truth[first : first + 2] + truth[first + 3 : first + len(heard) + 1]
    if served.dialect == "binance":
        numbers = [int(trade_id) for trade_id in ids]
        assert len(set(range(numbers[0], numbers[-1] + 1)) - set(numbers)) == 1
    else:
        assert set(ids) == {None}


def test_a_gap_in_the_depth(served: Served) -> None:
    """Binance's book has a checksum of ids; MEXC's goes on as if nothing were missing."""

    async def scenario(client: Any) -> bool:
        for _ in range(3):
            await client.watch_order_book(SYMBOL)
        served.exchange.arm("drop_frame", DEPTH, times=1)
        try:
            for _ in range(10):
                await client.watch_order_book(SYMBOL)
        except ccxt.ChecksumError:
            return True
        return False

    assert served.play(scenario) is (served.dialect == "binance")


def test_a_crossed_book_is_passed_on(served: Served) -> None:
    async def scenario(client: Any) -> Any:
        for _ in range(3):  # ccxt ignores a first change on MEXC that began before the snapshot
            await client.watch_order_book(SYMBOL)
        served.exchange.arm("crossed_book", DEPTH, times=1)
        for _ in range(30):
            book = await client.watch_order_book(SYMBOL)
            if book["bids"][0][0] > book["asks"][0][0]:
                return True
        return False

    assert served.play(scenario) is True


def test_closing_the_client_cancels_its_watchers(served: Served) -> None:
    served.exchange.arm("silent", trades_of(served))

    async def scenario(client: Any) -> None:
        watcher = asyncio.create_task(client.watch_trades(SYMBOL))
        await asyncio.sleep(0.5)
        await client.close()
        with pytest.raises((asyncio.CancelledError, ccxt.ExchangeClosedByUser)):
            await watcher

    served.play(scenario)


def test_a_halted_symbol_falls_silent(served: Served) -> None:
    async def scenario(client: Any) -> None:
        await client.watch_trades(SYMBOL)
        served.exchange.arm("halted", symbol=SYMBOL)
        await asyncio.sleep(0.2)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(hear(client, 5), 0.8)

    served.play(scenario)
