"""Where it happens: a real daemon that trades busily on paper, or on the loopback exchange as if it were real."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from levibot.clock import wall_ms
from levibot.config_execution import CONFIRMATION
from levibot.locations import KEY_VARIABLES
from scripts.torture.trap import Trap
from tests.daemon.harness import DaemonUnderTest, daemon, live_settings
from tests.exchange.running import RunningExchange, running
from tests.exchange.settings import SECRET, DialectName, Settings, account
from tests.market_live.fast_clock import Pace, environment
from tests.market_live.world import fast, pace_of

SYMBOLS = ("BTC/USDT", "ETH/USDT", "SOL/USDT", "BNB/USDT", "XRP/USDT")
CASH = Decimal(10_000_000)
_MARKET_SPEED = 300.0  # on paper a bar takes a fifth of a second: risk is asked once at each
_EXCHANGE_SPEED = 60.0  # on the exchange a second
_KINDS = ("engine", "feed", "broker")


@dataclass
class Ground:
    """A daemon that can be killed at any moment, and what outlives it.

    Attributes
    ----------
    trap
        By which its processes are killed from within.
    exchange
        None: the paper exchange.
    opening
        Balances of the account when it began, by asset.
    """

    daemon: DaemonUnderTest
    trap: Trap
    environment: dict[str, str]
    exchange: RunningExchange | None = None
    pace: Pace | None = None
    opening: Mapping[str, Decimal] = field(default_factory=dict)

    def start(self, *, ready: bool) -> None:
        """Start the daemon as an operator would."""
        self.daemon.start(ready=ready, cwd=None, **self.environment)

    def wall_ms(self) -> int:
        """Unix time as the daemon has it."""
        return self.pace.wall_ms() if self.pace is not None else wall_ms()


@contextmanager
def paper(folder: Path, seed: int) -> Iterator[Ground]:
    """The paper exchange on the simulated market."""
    trap = Trap(folder)
    own = {"feed.speed": _MARKET_SPEED, "feed.seed": seed, "paper.cash": str(CASH), "paper.latency": 0.03}
    try:
        with daemon(folder, **_settings(own)) as under_test:
            yield Ground(under_test, trap, trap.environment())
    finally:
        trap.close()


@contextmanager
def live(folder: Path, seed: int, dialect: DialectName) -> Iterator[Ground]:
    """Real money on the loopback exchange, which lives in this process and survives every kill."""
    trap = Trap(folder)
    key = f"key of {folder.name}"  # of its own: two brokers on this machine may not trade with the same
    market = fast(Settings(dialect=dialect, symbols=SYMBOLS, trades_per_s=5.0, seed=seed), _EXCHANGE_SPEED)
    market.accounts.append(account(dialect, key, money={"USDT": CASH, "BTC": Decimal(2)}))
    try:
        with running(market) as exchange:
            own = {
                "mode": "live",
                "live.confirm": CONFIRMATION,
                "live.allow_emulated_stops": True,
                "live.deadman_grace": 1.0,
                "live.reconcile_interval": 2.0,
                "exchange.requests_per_minute": 200_000,
            }
            with daemon(folder, **_settings({**live_settings(exchange), **own})) as under_test:
                under_test.state = under_test.data / f"live-{dialect}-default"
                pace = pace_of(exchange)
                keys = dict(zip(KEY_VARIABLES, (key, SECRET), strict=False))
                variables = {**trap.environment(), **environment(pace), **keys}
                opening = {name: held.free for name, held in exchange.exchange.accounts[0].balances.items()}
                yield Ground(under_test, trap, variables, exchange, pace, opening)
    finally:
        trap.close()


def _settings(own: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted keys of a daemon that may trade as fast as it can, small amounts, without ever being locked."""
    return {
        "symbols": list(SYMBOLS),
        "engine.strategy": "scripts.torture.busy:Busy",
        "engine.stop_loss": 0.002,
        "engine.take_profit": 0.002,
        "risk.position_cap": 0.0005,
        "risk.orders_per_minute": 1_000_000,
        "risk.daily_loss": 0.9,
        "risk.symbol_daily_loss": 0.9,
        "risk.price_collar": 0.5,
        "risk.protections.cooldown_minutes": 0,
        "risk.protections.stop_guard_count": 0,
        "risk.protections.max_drawdown": 0,
        "risk.protections.low_profit_trades": 0,
        "risk.correlated_exposure": 10,
        "supervisor.ballast_mb": 0,
        **{f"policy.{kind}.hang_after": 15.0 for kind in _KINDS},
        **own,
    }


def place(venue: str, folder: Path, seed: int) -> AbstractContextManager[Ground]:
    """``paper``, ``binance`` or ``mexc``."""
    if venue == "paper":
        return paper(folder, seed)
    return live(folder, seed, "mexc" if venue == "mexc" else "binance")
