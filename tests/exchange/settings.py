"""What an exchange is started with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Literal

from tests.exchange.accounts import Account, Balance
from tests.exchange.faults import Fault

KEY = "loopback-key"
SECRET = "loopback-secret"
DialectName = Literal["binance", "mexc", "bybit", "okx", "kraken"]
PUBLIC_ONLY: tuple[DialectName, ...] = ("bybit", "okx", "kraken")
"""Those that speak market data only."""


MONEY = {"USDT": Decimal(100_000), "BTC": Decimal(2), "ETH": Decimal(20)}


def account(
    dialect: DialectName, key: str = KEY, secret: str = SECRET, money: Mapping[str, Decimal] = MONEY
) -> Account:
    """An account with money, at the dialect's fees: MEXC takes them in the quote asset and none from makers."""
    owner = Account(key, secret)
    if dialect == "mexc":
        owner.fee_asset, owner.maker, owner.taker = "quote", Decimal(0), Decimal("0.0005")
    for asset, amount in money.items():
        owner.balances[asset] = Balance(amount)
    return owner


@dataclass
class Settings:
    """One exchange.

    Parameters
    ----------
    symbols, quiet
        What the simulation trades; a quiet symbol trades once in ten minutes, and its book hardly moves.
    replay
        A recorded file of frames, or a folder of candles, in place of the simulation.
    replay_waits, replay_lead_s
        When recorded frames begin to flow: see `FrameReplay`.
    speed
        Market seconds for each real second; 0 replays frames as fast as clients take them.
    serves_market_time
        Whether the exchange's own time runs as fast as its market's, for clients whose clock does too.
    beat_s
        Seconds between publications of books and best prices.
    history
        Closed bars that exist at the start.
    weight_limit
        Weight in each window; None: the dialect's own.
    life_s
        Seconds after which a connection is closed, as the real ones do after 24 hours.
    idle_s
        Seconds without a message in either direction after which a connection is closed; None: the dialect's own.
    clock_offset_ms
        How far the clock of the exchange, and the time in its market with it, is from this machine's.
    server_ping_s
        Seconds between pings by the server, as Binance sends them.
    commands_per_s
        Messages a client may send in a second; the connection of a faster one is closed.
    control_port
        Where the control routes listen; 0: any free port.
    """

    dialect: DialectName = "binance"
    symbols: tuple[str, ...] = ("BTC/USDT", "ETH/USDT")
    quiet: tuple[str, ...] = ()
    trades_per_s: float = 5.0
    quotes_per_s: float = 10.0
    seed: int = 7
    speed: float = 1.0
    serves_market_time: bool = False
    start_ms: int | None = None
    beat_s: float = 0.1
    history: int = 2_000
    replay: Path | None = None
    replay_waits: bool = True
    replay_lead_s: float = 0.0
    port: int = 0
    control_port: int = 0
    accounts: list[Account] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    weight_limit: int | None = None
    life_s: float = 86_400.0
    idle_s: float | None = None
    clock_offset_ms: int = 0
    server_ping_s: float = 20.0
    commands_per_s: int | None = None
    log_path: Path | None = None
