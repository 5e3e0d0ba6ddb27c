"""Every feature: its name, its group, how many bars it looks at, and what it means.

A registered feature is given by both forms, in the order of `REGISTRY`. Whoever changes a formula counts up
its version, so that no model that learned from the old one is asked with the new one.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

Group = Literal["bars", "context", "book", "flow", "altdata"]

MOST_SYNTHETIC = 6  # bars in a window that may have been made up to fill a gap

RETURNS = (1, 2, 5, 10, 20, 30, 60)
GAPS = (10, 30, 60)
LONG = 60  # bars; the longest horizon of any feature
SHORT_VOLATILITY = 10
SHORT_VOLUME = 5
RSI = ATR = 14
MACD = (12, 26, 9)
BAND = 20  # bars of the Bollinger band
BAND_WIDTH = 2.0  # standard deviations on each side
CONTEXT_RETURNS = (1, 5, 30, 60)
RELATIVE_RETURNS = (5, 30)
SHORT_FLOW = 10


@dataclass(frozen=True)
class Feature:
    """One number that a model may be given.

    Parameters
    ----------
    name
        Unique; of the group ``altdata`` see `altdata.feature_name`.
    group
        What it is made from. ``bars`` is always there; the other groups are NaN where they are missing.
    window
        Bars that it looks at, the newest of which is the judged one, of ``context`` the one a minute before;
        0: none.
    meaning
        One sentence. Prices are logarithms, so a difference is a return.
    version
        Of the formula.
    """

    name: str
    group: Group
    window: int
    meaning: str
    version: int = 1

    @property
    def is_optional(self) -> bool:
        """Whether it may be missing, and is NaN then."""
        return self.group != "bars"


def _bars() -> list[Feature]:
    def made(name: str, window: int, meaning: str) -> Feature:
        return Feature(name, "bars", window, meaning)

    fast, slow, signal = MACD
    return [
        *(made(f"return_{n}", n + 1, f"Return over {n} bars.") for n in RETURNS),
        *(made(f"gap_{n}", n, f"Price over the mean of the last {n} closes.") for n in GAPS),
        made("volatility_60", LONG + 1, "Root mean square of the last 60 one-bar returns."),
        made(
            "volatility_ratio_10_60", LONG + 1, "Volatility of the last 10 bars over that of 60; 1: no movement."
        ),
        made("volume_z_60", LONG, "Standard score of the volume among the last 60."),
        made("volume_ratio_5_60", LONG, "Mean volume of the last 5 bars over that of 60; 1: none at all."),
        made("rsi_14", RSI + 1, "Cutler's RSI of 14 bars, from -0.5 (only falls) to 0.5 (only rises)."),
        made("macd_12_26", LONG + 1, f"Exponential mean of {fast} closes over that of {slow}, begun 61 bars ago."),
        made("macd_histogram_9", LONG + 1, f"That MACD over its own exponential mean of {signal} bars."),
        made("atr_14", ATR + 1, "Mean true range of the last 14 bars."),
        made("band_position_20", BAND, "Place in the Bollinger band of 20 closes: -1 and 1 are its edges."),
        made("band_width_20", BAND, "Width of that band: four standard deviations."),
        made("range_position_60", LONG, "Place between the low (-0.5) and the high (0.5) of the last 60 bars."),
        made("body", 1, "Close over open as a share of the bar's range."),
        made("close_location", 1, "Place of the close between the bar's low (-0.5) and high (0.5)."),
        made("time_sine", 1, "Sine of the time of day (UTC) at which the bar opens."),
        made("time_cosine", 1, "Cosine of the time of day (UTC) at which the bar opens."),
        made("range_ratio_14", ATR + 1, "True range over its mean of 14 bars; 1: no movement."),
        made("vwap_gap_60", LONG, "Price over the volume-weighted mean of the last 60 bars' typical prices."),
        made("synthetic_share", LONG + 1, "Share of the last 61 bars that were made up to fill a gap."),
    ]


def _context() -> list[Feature]:
    def made(name: str, window: int, meaning: str) -> Feature:
        return Feature(name, "context", window, meaning)

    return [
        *(
            made(f"context_return_{n}", n + 1, f"The leading market's return over {n} bars.")
            for n in CONTEXT_RETURNS
        ),
        made("context_volatility_60", LONG + 1, "Root mean square of its last 60 one-bar returns."),
        *(
            made(f"relative_return_{n}", n + 1, f"This symbol's return over the same {n} bars less that market's.")
            for n in RELATIVE_RETURNS
        ),
    ]


def _liquidity() -> list[Feature]:
    return [
        Feature("spread", "book", 1, "Mean relative spread in the minute, as a fraction of the price."),
        Feature("book_imbalance", "book", 1, "Mean of (bids - asks) / (bids + asks) near the price, -1 to 1."),
        Feature(
            "flow_imbalance",
            "flow",
            1,
            "Bought by takers less sold by them in the minute, over the volume: -1 to 1.",
        ),
        Feature("flow_imbalance_10", "flow", SHORT_FLOW, "The same over the last 10 bars."),
        Feature("trades_log", "flow", 1, "Logarithm of 1 + the number of trades in the minute."),
    ]


def _altdata() -> list[Feature]:
    def made(name: str, meaning: str) -> Feature:
        return Feature(name, "altdata", 0, meaning)

    return [
        made("sentiment", "Mood of the news on the asset, -1 to 1."),
        made("news_count", "Headlines on the asset that this mood is made from."),
        made("funding_rate", "Rate that longs pay shorts on the perpetual swap, as a fraction of the position."),
        made("open_interest_change", "Relative change of open interest on the perpetual swap over a day."),
        made(
            "active_addresses_change", "Active addresses of the last full day over their mean of 30 days, less 1."
        ),
        made("transactions_change", "Transactions of the last full day over their mean of 30 days, less 1."),
        made("exchange_inflow_change", "Coins sent to exchanges on that day over their mean of 30 days, less 1."),
        made("exchange_outflow_change", "Coins taken from exchanges on that day over their mean, less 1."),
        made("fee_rate", "Fee for the next block in satoshi a byte."),
        made("market_sentiment", "Mood of the news that name no asset, -1 to 1."),
        made("market_news_count", "Headlines that this mood is made from."),
    ]


REGISTRY: tuple[Feature, ...] = (*_bars(), *_context(), *_liquidity(), *_altdata())
FEATURES: tuple[str, ...] = tuple(feature.name for feature in REGISTRY)
FEATURE_VERSIONS: dict[str, int] = {feature.name: feature.version for feature in REGISTRY}
OPTIONAL_FEATURES: frozenset[str] = frozenset(feature.name for feature in REGISTRY if feature.is_optional)
ALTDATA_FEATURES: tuple[str, ...] = tuple(feature.name for feature in REGISTRY if feature.group == "altdata")
WINDOW: int = max(feature.window for feature in REGISTRY)
# Bars before the judged one that any feature looks at, of whatever market: the context's end a minute earlier.
LOOKBACK: int = max(feature.window - (feature.group != "context") for feature in REGISTRY)


def _identity() -> str:
    told = "\n".join((str(MOST_SYNTHETIC), *(f"{f.name} {f.window} {f.version}" for f in REGISTRY)))
    return f"features-{hashlib.sha256(told.encode()).hexdigest()[:12]}"


FEATURE_SET: str = _identity()
