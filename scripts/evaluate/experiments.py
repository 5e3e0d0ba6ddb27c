"""What is evaluated: recorded markets, and where the untouched test begins."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from levibot.config_execution import PaperConfig
from levibot.market.specs import FEE

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "candles"
COSTS = float(2 * FEE) + PaperConfig().spread + 2 * PaperConfig().slippage  # of a round trip on paper
# The strategy's own, fixed long before any test span was seen.
LONG_FROM, SHORT_TO, LEAST_GAIN = 0.55, 0.45, 0.002

_BASES = ("ADA", "AVAX", "BNB", "BTC", "DOGE", "ETH", "LINK", "LTC", "SOL", "XRP")


class Experiment(NamedTuple):
    """One recorded market, trained on up to a time and judged on what came after it."""

    name: str
    folder: str
    exchange: str
    symbols: tuple[str, ...]
    test_from: str  # ISO 8601, UTC
    horizon_bars: int
    context: str  # the leading market
    trials: int = 0  # of a search for better settings; 0: the defaults


EXPERIMENTS = {
    "2025": Experiment(
        "Binance USDT-M futures, 2025-05-04 to 2025-06-24",
        "binance-um-2025-05",
        "binance",
        tuple(f"{base}/USDT" for base in _BASES),
        "2025-06-04",
        240,
        "BTC/USDT",
    ),
    "2018": Experiment(
        "Bitfinex, 2018",
        "bitfinex-2018",
        "bitfinex",
        ("BTC/USD", "ETH/USD"),
        "2018-10-01",
        240,
        "BTC/USD",
    ),
    "tuned": Experiment(
        "Binance USDT-M futures, 2025, ETH alone, settings searched by Optuna",
        "binance-um-2025-05",
        "binance",
        ("ETH/USDT",),
        "2025-06-04",
        240,
        "BTC/USDT",
        trials=200,
    ),
}
