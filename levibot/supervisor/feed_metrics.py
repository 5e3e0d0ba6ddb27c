"""The metrics of the feed: markets, the exchange that a live source streams from, and the recorder.

Counters go on over restarts of the feed. What describes the moment is absent while it does not run.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter

from levibot.bus.messages import PARSE_BOUNDS, FeedReport, LiveReport, MarketHealth
from levibot.market.states import ENDED, FAILED, HALTED, LIVE, OPENING, STALE
from levibot.observability.metrics import Buckets, Family, Reading
from levibot.supervisor.daemon_metrics import DaemonView

_STATES = tuple(word.rstrip(": ") for word in (OPENING, LIVE, STALE, HALTED, ENDED, FAILED))


def _report(view: DaemonView) -> FeedReport | None:
    """With the counters of all processes of the feed; of a dead one the last."""
    report = view.report("feed")
    return report if isinstance(report, FeedReport) else None


def _live(view: DaemonView) -> LiveReport | None:
    report = _report(view)
    return report.live if report else None


def _count(read: Callable[[LiveReport], Reading]) -> Callable[[DaemonView], Reading]:
    return lambda view: read(live) if (live := _live(view)) else None


def _now(read: Callable[[LiveReport], Reading]) -> Callable[[DaemonView], Reading]:
    """Only of a feed that runs, and of nothing that one before it said."""
    return lambda view: read(feed.live) if (feed := view.feed) and feed.live else None


def _market(name: str) -> Callable[[DaemonView], Reading]:
    read: Callable[[MarketHealth], int] = attrgetter(name)

    def counts(view: DaemonView) -> Reading:
        live = _live(view)
        if live is None:
            return None
        return {symbol: read(live.markets[symbol]) for symbol in view.symbols if symbol in live.markets}

    return counts


def _market_states(view: DaemonView) -> Reading:
    if view.feed is None:
        return None
    states: dict[tuple[str, ...], float] = {
        (symbol, state): int(word.partition(":")[0] == state)
        for symbol, word in view.feed.symbols.items()
        for state in _STATES
    }
    return states


def _lags(live: LiveReport) -> Reading:
    return {symbol: h.lag_ms / 1000 for symbol, h in live.markets.items() if h.lag_ms is not None}


def _recorded(name: str) -> Callable[[DaemonView], Reading]:
    def count(view: DaemonView) -> Reading:
        report = _report(view)
        return getattr(report.recorder, name) if report and report.recorder else None

    return count


def _published(view: DaemonView) -> Reading:
    report = _report(view)
    return report.published if report else None


def _reconnects(view: DaemonView) -> Reading:
    live = _live(view)
    restarts = max(0, view.daemon.manager.workers["feed"].totals.processes - 1)
    return restarts + (live.reconnects if live else 0)


def _skew(live: LiveReport) -> Reading:
    return None if live.skew_ms is None else live.skew_ms / 1000


FEED_FAMILIES: tuple[Family[DaemonView], ...] = (
    Family(
        "levi_feed_published_messages_total", "counter", "Market messages that the feed published.", _published
    ),
    Family(
        "levi_feed_reconnects_total",
        "counter",
        "Times that market data began anew: connections that were lost and replaced, and restarts of the feed.",
        _reconnects,
    ),
    Family(
        "levi_market_state",
        "gauge",
        "1 for the state that a market is in, 0 for the others; absent while the feed does not run.",
        _market_states,
        ("symbol", "state"),
    ),
    Family(
        "levi_market_trades_total", "counter", "Public trades of a live market.", _market("trades"), ("symbol",)
    ),
    Family("levi_market_books_total", "counter", "Order books of a live market.", _market("books"), ("symbol",)),
    Family(
        "levi_market_duplicates_total",
        "counter",
        "Trades that came twice, and were told once.",
        _market("duplicates"),
        ("symbol",),
    ),
    Family(
        "levi_market_stales_total",
        "counter",
        "Times that a live market went stale; its engine opens nothing then.",
        _market("stales"),
        ("symbol",),
    ),
    Family(
        "levi_market_gaps_total",
        "counter",
        "Holes in a sequence of the exchange, or between two connections.",
        _market("gaps"),
        ("symbol",),
    ),
    Family(
        "levi_market_corrections_total",
        "counter",
        "Bars that the exchange had otherwise; its own count.",
        _market("corrections"),
        ("symbol",),
    ),
    Family(
        "levi_market_backfilled_bars_total",
        "counter",
        "Bars that were read later, by request.",
        _market("backfilled"),
        ("symbol",),
    ),
    Family(
        "levi_market_synthetic_bars_total",
        "counter",
        "Bars in which nothing traded, or that the exchange lacks.",
        _market("synthetic"),
        ("symbol",),
    ),
    Family(
        "levi_market_renewals_total",
        "counter",
        "Subscriptions of a market that were begun anew.",
        _market("renewals"),
        ("symbol",),
    ),
    Family(
        "levi_market_malformed_total",
        "counter",
        "Answers and frames of a market that made no sense.",
        _market("malformed"),
        ("symbol",),
    ),
    Family(
        "levi_market_lag_seconds",
        "gauge",
        "Newest frame of a live market: from the exchange's time, by its clock, to the receipt.",
        _now(_lags),
        ("symbol",),
    ),
    Family(
        "levi_feed_connections",
        "gauge",
        "Open connections to the exchange; this and the rest is absent without a live source.",
        _now(lambda live: live.connections),
    ),
    Family("levi_feed_dials_total", "counter", "Connections that were tried.", _count(lambda live: live.dials)),
    Family(
        "levi_feed_probes_total",
        "counter",
        "Times that the exchange was asked whether a market's silence is right.",
        _count(lambda live: live.probes),
    ),
    Family("levi_feed_frames_total", "counter", "Frames of the exchange.", _count(lambda live: live.frames)),
    Family(
        "levi_feed_parse_seconds",
        "histogram",
        "Frames by the time from receipt to publication.",
        _count(lambda live: Buckets(live.parse_buckets, live.parse_seconds) if live.parse_buckets else None),
        bounds=PARSE_BOUNDS,
    ),
    Family(
        "levi_feed_budget_used_ratio",
        "gauge",
        "Part of the feed's share of the rate limit that is spent, 0 to 1.",
        _now(lambda live: live.budget_used),
    ),
    Family(
        "levi_feed_cool_down_seconds",
        "gauge",
        "Seconds until the exchange may be asked again, after it refused to be asked so much; 0: now.",
        _now(lambda live: live.cool_down_s),
    ),
    Family(
        "levi_feed_clock_skew_seconds",
        "gauge",
        "This machine's clock less the exchange's; absent while that is not known.",
        _now(_skew),
    ),
    Family("levi_recorder_messages_total", "counter", "Messages that were recorded.", _recorded("messages")),
    Family("levi_recorder_bytes_total", "counter", "Bytes of recordings on disk.", _recorded("bytes")),
    Family(
        "levi_recorder_dropped_total",
        "counter",
        "Messages that were not recorded, as the disk was too slow.",
        _recorded("dropped"),
    ),
)
