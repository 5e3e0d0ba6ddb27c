"""``python -m tests.exchange``: run a loopback exchange by hand."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args

from tests.exchange import connect
from tests.exchange.faults import Fault, from_mappings
from tests.exchange.server import Exchange
from tests.exchange.settings import KEY, MONEY, SECRET, DialectName, Settings, account


def read_faults(path: Path) -> list[Fault]:
    """A JSON list, or TOML with ``[[faults]]`` tables."""
    content: Any = tomllib.loads(path.read_text()) if path.suffix == ".toml" else json.loads(path.read_text())
    return from_mappings(content["faults"] if isinstance(content, dict) else content)


def parse(arguments: list[str] | None = None) -> Settings:
    parser = argparse.ArgumentParser(prog="python -m tests.exchange", description=__doc__)
    parser.add_argument("--dialect", choices=get_args(DialectName), default="binance")
    parser.add_argument("--port", type=int, default=8901)
    parser.add_argument("--control-port", type=int, default=0, help="0: any free port")
    parser.add_argument("--symbols", default="BTC/USDT,ETH/USDT", help="comma between them")
    parser.add_argument("--quiet", default="", help="those that trade once in ten minutes")
    parser.add_argument("--trades-per-s", type=float, default=5.0)
    parser.add_argument("--quotes-per-s", type=float, default=10.0)
    parser.add_argument("--beat-s", type=float, default=0.1, help="between publications of books and best prices")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--speed", type=float, default=1.0, help="market seconds a second; frames: 0 is no wait")
    parser.add_argument("--history", type=int, default=2000, help="closed bars at the start")
    parser.add_argument("--replay", type=Path, help="a file or folder of frames, or a folder of candles")
    parser.add_argument("--faults", type=Path, help="JSON or TOML")
    parser.add_argument("--weight-limit", type=int)
    parser.add_argument("--money", default="", help="ASSET=AMOUNT, comma between them, in place of what there is")
    parser.add_argument("--can-withdraw", action="store_true", help="what the key may do")
    parser.add_argument("--idle-s", type=float, help="seconds of silence until a connection is closed")
    parser.add_argument("--clock-offset-ms", type=int, default=0, help="how wrong its clock and market time are")
    parser.add_argument("--log", type=Path, help="write every request and stream event as JSON lines")
    given = parser.parse_args(arguments)
    money = dict(part.split("=") for part in filter(None, given.money.split(",")))
    owner = account(given.dialect, money={asset: Decimal(amount) for asset, amount in money.items()} or MONEY)
    owner.can_withdraw = given.can_withdraw
    return Settings(
        accounts=[owner],
        dialect=given.dialect,
        symbols=tuple(given.symbols.split(",")),
        quiet=tuple(filter(None, given.quiet.split(","))),
        trades_per_s=given.trades_per_s,
        quotes_per_s=given.quotes_per_s,
        beat_s=given.beat_s,
        seed=given.seed,
        speed=given.speed,
        history=given.history,
        replay=given.replay,
        port=given.port,
        control_port=given.control_port,
        faults=read_faults(given.faults) if given.faults else [],
        weight_limit=given.weight_limit,
        idle_s=given.idle_s,
        clock_offset_ms=given.clock_offset_ms,
        log_path=given.log,
    )


async def serve(settings: Settings) -> None:
    exchange = Exchange(settings)
    await exchange.start()
    print(connect.connection(settings.dialect, exchange.port).toml())
    print(f"\n# key {KEY}, secret {SECRET}; control http://127.0.0.1:{exchange.control_port}", flush=True)
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    await stopped.wait()
    await exchange.stop()


if __name__ == "__main__":
    asyncio.run(serve(parse()))
