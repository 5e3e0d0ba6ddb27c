"""A session from opening to closing: markets, clocks, requests, weights, streams."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest

from levibot.clock import boot_ns
from levibot.config_market import ExchangeConfig
from levibot.errors import BudgetError, ConfigError, ExchangeRefusedError, ExchangeUnavailableError
from levibot.exchange import session as session_module
from levibot.exchange import upkeep
from levibot.exchange.session import ExchangeSession
from levibot.exchange.validation import read_book, read_trades
from tests.exchange_adapter.conftest import SYMBOL, House


def test_markets_are_those_of_the_exchange(house: House) -> None:
    async def scenario(session: ExchangeSession) -> None:
        spec = session.spec(SYMBOL)
        rules = house.exchange.exchange.market.symbols[SYMBOL].instrument
        assert (spec.amount_step, spec.price_tick) == (rules.step, rules.tick)
        assert (spec.min_amount, spec.min_cost) == (rules.min_amount, rules.min_cost)
        assert spec.taker_fee == Decimal("0.001" if house.dialect == "binance" else "0.0005")
        assert spec.active
        with pytest.raises(ExchangeRefusedError, match="no market NO/PE") as raised:
            session.spec("NO/PE")
        assert raised.value.reason == "symbol"

    house.play(scenario)


def test_nothing_is_left_after_the_end(house: House) -> None:
    def sockets() -> int:
        port = house.exchange.port
        ours = psutil.Process().net_connections("tcp")
        return sum(1 for c in ours if c.raddr and c.raddr.port == port and c.status == psutil.CONN_ESTABLISHED)

    async def scenario() -> None:
        session = house.session()
        await session.open()
        watching = asyncio.create_task(session.exchange.watch_order_book(SYMBOL))
        await session.exchange.watch_trades(SYMBOL)
        assert sockets()
        await session.close()
        await session.close()
        assert await asyncio.gather(watching, return_exceptions=True)
        assert not asyncio.all_tasks() - {asyncio.current_task()}
        assert asyncio.get_running_loop().get_exception_handler() is None

    asyncio.run(scenario())
    assert sockets() == 0
    assert house.heard("connected")
    assert not house.heard("disconnected")  # we closed it ourselves


def test_a_session_that_could_not_open_opens_later(house: House) -> None:
    async def scenario() -> None:
        session = house.session()
        try:
            house.exchange.arm("status", "GET /api/v3/exchangeInfo", times=1)
            with pytest.raises(ExchangeUnavailableError):
                await session.open()
            await session.open()
            assert session.spec(SYMBOL).active
        finally:
            await session.close()

    asyncio.run(scenario())


def test_a_session_that_was_never_opened_closes(tmp_path: Path) -> None:
    async def scenario() -> None:
        await ExchangeSession("binance", ExchangeConfig(), "feed", tmp_path).close()

    asyncio.run(scenario())


def test_a_wrong_exchange_is_an_error_of_the_configuration(tmp_path: Path) -> None:
    async def scenario() -> None:
        session = ExchangeSession("binanse", ExchangeConfig(), "feed", tmp_path)
        with pytest.raises(ConfigError, match="did you mean binance"):
            await session.open()
        await session.close()

    asyncio.run(scenario())


def test_the_weight_of_every_request_is_taken_from_the_budget(house: House) -> None:
    """Also of those that ccxt sends of itself."""

    async def scenario(session: ExchangeSession) -> None:
        used, sent = session.budget.used_last_minute, session.budget.sent
        asked = house.asked("*")
        await session.call("data", lambda exchange: exchange.fetch_order_book(SYMBOL, 50))
        one = session.budget.used_last_minute - used
        assert one > 0
        await session.exchange.fetch_order_book(SYMBOL, 50)
        assert session.budget.used_last_minute - used == pytest.approx(2 * one)
        assert session.budget.sent - sent == house.asked("*") - asked == 2

    house.play(scenario)


def test_waiting_for_the_turn_is_no_part_of_the_deadline(house: House) -> None:
    async def scenario(session: ExchangeSession) -> None:
        await session.budget.take(270, "data")  # seventy more than the bucket holds
        begun = asyncio.get_running_loop().time()
        await session.call("data", lambda exchange: exchange.fetch_time(), deadline_s=3.0)
        assert asyncio.get_running_loop().time() - begun > 3.0

    house.play(scenario, requests_per_minute=3000)  # of which the feed has 200 at once, then 17 a second


def test_a_turn_that_does_not_come_is_said_and_nothing_is_sent(house: House) -> None:
    async def drain(session: ExchangeSession) -> None:
        while True:
            await session.budget.take(1, "data")

    async def scenario() -> None:
        settings = house.config(requests_per_minute=450)
        session = ExchangeSession(house.dialect, settings, "feed", house.state_dir, patience_s=0.05)
        try:
            await session.open()
            asked = house.asked("*")
            with pytest.raises(BudgetError, match=r"raise \[exchange\] requests_per_minute"):
                await drain(session)
            with pytest.raises(BudgetError):
                await session.call("data", lambda exchange: exchange.fetch_markets())
            assert house.asked("*") == asked
        finally:
            await session.close()

    asyncio.run(scenario())


def test_the_clocks_are_compared(house: House) -> None:
    house.exchange.arm("clock_skew", skew_ms=-90_000)

    async def scenario(session: ExchangeSession) -> None:
        assert 89_000 < session.skew_ms < 91_000
        server_ms = house.exchange.run(lambda exchange: exchange.clock.server_ms())
        assert abs(session.exchange_ms() - server_ms) < 1_000
        house.exchange.clear()
        await session.measure_clock()
        assert abs(session.skew_ms) < 1_000

    house.play(scenario)


def test_a_halt_and_a_delisting_are_told_and_end(house: House) -> None:
    async def scenario(session: ExchangeSession) -> None:
        for kind in ("halted", "delisted"):
            house.told.clear()
            house.exchange.arm(kind, symbol="ETH/USDT")
            await session.read_markets()
            assert not session.spec("ETH/USDT").active
            await session.read_markets()
            house.exchange.clear()
            await session.read_markets()
            assert session.spec("ETH/USDT").active
            changes = [[(spec.symbol, spec.active) for spec in specs] for specs in house.heard("markets")]
            assert changes == [[("ETH/USDT", False)], [("ETH/USDT", True)]]
        assert session.exchange.market("ETH/USDT")["id"] == "ETHUSDT"

    house.play(scenario)


def test_books_and_trades_pass_the_checks(house: House) -> None:
    async def scenario(session: ExchangeSession) -> None:
        book = await session.read(
            lambda exchange: exchange.fetch_order_book(SYMBOL, 50), lambda found: read_book(found, "book")
        )
        assert len(book.bids) == len(book.asks) == 50
        ids = session.quirks.trade_ids
        trades = await session.read(
            lambda exchange: exchange.fetch_trades(SYMBOL, limit=20),
            lambda found: read_trades(found, "trades", with_ids=ids),
        )
        truth = {(float(t.price), float(t.amount), t.time_ms) for t in house.exchange.journal.trades[SYMBOL]}
        assert {(t.price, t.amount, t.event_ms) for t in trades} <= truth
        assert all((t.id is not None) == ids for t in trades)
        streamed = read_trades(await session.exchange.watch_trades(SYMBOL), "trades", with_ids=ids)
        assert streamed

    house.play(scenario)


def test_only_what_is_wanted_is_asked_for_at_the_start(house: House) -> None:
    before = house.asked("*")

    async def scenario(session: ExchangeSession) -> list[str]:
        return [entry.target for entry in house.exchange.log.asked("*")[before:]]

    assert house.play(scenario) == ["GET /api/v3/time", "GET /api/v3/exchangeInfo"]


@contextmanager
def forwarding_proxy() -> Iterator[tuple[int, list[str]]]:
    """A small HTTP proxy in a thread, and the requests that went through it."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(urlsplit(self.path).path)
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(self.path) as answer:
                body = answer.read()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Stay silent."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port, asked
        finally:
            server.shutdown()
            thread.join()


def test_a_proxy_is_used_where_one_is_configured(house: House) -> None:
    async def scenario(session: ExchangeSession) -> None:
        assert session.spec(SYMBOL).active

    with forwarding_proxy() as (port, asked):
        house.play(scenario, proxy=f"http://127.0.0.1:{port}")
    assert asked == ["/api/v3/time", "/api/v3/exchangeInfo"]


def test_clock_and_markets_are_read_again_and_a_failure_is_told(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_CLOCK_EVERY_S", "_MARKETS_EVERY_S"):
        monkeypatch.setattr(session_module, name, 0.1)
    monkeypatch.setattr(upkeep, "_AGAIN_S", 0.1)

    async def until(condition: Callable[[], object], what: str) -> None:
        async with asyncio.timeout(60):
            while not condition():
                await asyncio.sleep(0.01)

    async def scenario(session: ExchangeSession) -> None:
        house.exchange.arm("halted", symbol="ETH/USDT")
        await until(lambda: not session.spec("ETH/USDT").active, "the halt")
        house.exchange.arm("status", "GET /api/v3/exchangeInfo", status=503, times=1)
        house.exchange.arm("clock_skew", skew_ms=-90_000)
        await until(lambda: house.heard("trouble"), "the failure")
        await until(lambda: session.skew_ms > 80_000, "the clock")
        house.exchange.clear()
        await until(lambda: session.spec("ETH/USDT").active, "the end of the halt")

    house.play(scenario)
    assert [what for what, _ in house.heard("trouble")] == ["markets"]


def test_a_mistake_while_markets_are_read_is_told_and_they_are_read_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "_MARKETS_EVERY_S", 0.1)

    async def scenario(session: ExchangeSession) -> None:
        mistakes = [KeyError("of ccxt, by a strange market")]
        set_markets = session.exchange.set_markets

        def clumsy(markets: Any) -> Any:
            if mistakes:
                raise mistakes.pop()
            return set_markets(markets)

        session.exchange.set_markets = clumsy
        house.exchange.arm("halted", symbol="ETH/USDT")
        async with asyncio.timeout(60):
            while session.spec("ETH/USDT").active:
                await asyncio.sleep(0.01)

    house.play(scenario)
    assert [what for what, _ in house.heard("trouble")] == ["markets"]


def test_siblings_share_markets_and_budget_and_none_is_left(house: House) -> None:
    frames: list[int] = []
    events: list[str] = []

    async def scenario(session: ExchangeSession) -> None:
        siblings = [
            session.sibling(
                lambda url: events.append("connected"), lambda url, why: events.append(why), frames.append
            )
            for _ in range(2)
        ]
        assert all(sibling.markets is session.exchange.markets for sibling in siblings)
        sent = session.budget.sent
        await siblings[0].fetch_time()
        assert session.budget.sent == sent + 1
        house.exchange.arm("halted", symbol="ETH/USDT")
        await session.read_markets()
        assert [sibling.market("ETH/USDT")["active"] for sibling in siblings] == [False, False]
        await siblings[0].watch_trades(SYMBOL)
        assert events == ["connected"]
        assert frames == sorted(frames)
        assert abs(frames[-1] - boot_ns()) < 10e9
        await session.end_sibling(siblings[0])  # the other one is left to the session
        assert events == ["connected"]  # what we end ourselves is no loss

    house.play(scenario)
    assert not house.heard("connected")


def test_the_package_costs_nothing_until_a_session_is_opened() -> None:
    code = (
        "import sys, levibot.exchange.session, levibot.exchange.candles, levibot.market.download\n"
        "heavy = {'ccxt', 'aiohttp', 'numpy', 'polars', 'google'} & set(sys.modules)\n"
        "sys.exit(repr(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
