"""``python -m tests.exchange`` in a process of its own, its control routes, faults from a file, a fast clock."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
import urllib.request
from pathlib import Path
from typing import Any

import ccxt
import pytest

from tests.deadline import wait_for
from tests.exchange import connect
from tests.exchange.clock import MINUTE_MS
from tests.exchange.conftest import SYMBOL, Served, start
from tests.exchange.faults import Fault, matches

pytestmark = pytest.mark.long  # half a minute, mostly waiting; the other files are the short version

HEAD = Path(__file__).parents[2]


def ask(url: str, method: str = "GET", body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, method=method)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read())


def test_by_hand(tmp_path: Path) -> None:
    faults = tmp_path / "faults.toml"
    faults.write_text('[[faults]]\nkind = "status"\non = "GET /api/v3/ticker/24hr"\nstatus = 502\n')
    log = tmp_path / "log.jsonl"
    command = [sys.executable, "-m", "tests.exchange", "--port", "0", "--faults", str(faults), "--log", str(log)]
    with subprocess.Popen(command, cwd=HEAD, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        printed: list[str] = []
        while not printed or not printed[-1].startswith("# key"):
            printed.append(process.stdout.readline())
        try:
            sections = tomllib.loads("".join(printed))["exchange"]
            control = re.findall(r"control (http\S+)", printed[-1])[0]
            client = getattr(ccxt, sections["id"])()
            connect.apply(client, sections["urls"], sections["options"])
            assert len(client.fetch_ohlcv(SYMBOL, "1m", limit=5)) == 5
            with pytest.raises(ccxt.ExchangeNotAvailable):
                client.fetch_ticker(SYMBOL)
            assert ask(f"{control}/faults")[0]["struck"] == 1
            ask(f"{control}/faults", "DELETE")
            assert client.fetch_ticker(SYMBOL)["last"] > 0
            ask(f"{control}/faults", "POST", {"kind": "halted", "symbol": "ETH/USDT"})
            wait_for(lambda: ask(f"{control}/state")["symbols"]["ETH/USDT"] == "halted", "the halt")
            paths = [request["path"] for request in ask(f"{control}/requests?on=GET%20*klines")]
            assert paths == ["/api/v3/klines"]
            assert ask(f"{control}/journal?symbol={SYMBOL}")["trades"]
        finally:
            process.terminate()
        assert process.wait(60) == 0
    assert any("klines" in line for line in log.read_text().splitlines())


def test_an_hour_passes_in_a_moment_and_a_quiet_symbol_hardly_trades() -> None:
    quiet = "ETH/USDT"
    with start("binance", quiet=(quiet,), speed=1_200.0, trades_per_s=0.5, quotes_per_s=1.0) as exchange:
        wait_for(lambda: len(exchange.journal.bars[quiet]) >= 60, "an hour", seconds=60)
        trades = exchange.journal.trades[quiet]
        assert 1 <= len(trades) <= 20
        bars = list(exchange.journal.bars[quiet])
        assert [bar.open_ms for bar in bars] == list(range(bars[0].open_ms, bars[-1].open_ms + 1, MINUTE_MS))
        busy = exchange.journal.bars[SYMBOL][5]
        inside = [t for t in list(exchange.journal.trades[SYMBOL]) if busy.open_ms <= t.time_ms <= busy.close_ms]
        assert busy.volume == sum(trade.amount for trade in inside)
        assert busy.high == max(trade.price for trade in inside)


def test_the_same_seed_makes_the_same_history() -> None:
    def closes() -> list[Any]:
        with start("mexc", start_ms=1_700_000_000_000, history=50) as exchange:
            return [bar.close for bar in exchange.exchange.market.symbols[SYMBOL].bars[:50]]

    assert closes() == closes()


def test_a_port_that_refuses_opens_again() -> None:
    with start("mexc", history=5) as exchange:

        async def scenario(client: Any) -> Any:
            exchange.arm("refuse", seconds=0.5)
            with pytest.raises(ccxt.NetworkError):
                await client.watch_trades(SYMBOL)
            with pytest.raises(ccxt.ExchangeNotAvailable):
                await client.fetch_time()
            wait_for(lambda: exchange.exchange.faults.lasting("refuse") is None, "the end of the fault")
            exchange.arm("delay", "nothing")
            return await client.watch_trades(SYMBOL)

        assert Served(exchange).play(scenario)


def test_a_wrong_fault_is_refused() -> None:
    with pytest.raises(ValueError, match="is no fault"):
        Fault("explode")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="every"):
        Fault("delay", every=0)
    assert matches("STREAM *@depth*", "STREAM btcusdt@depth@100ms")
    assert not matches("GET /api/v3/order", "GET /api/v3/orders")
