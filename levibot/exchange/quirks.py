"""What is special of each exchange, in one table: which streams work, and the limits that ccxt does not keep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Watch = Literal["watch_trades", "watch_order_book", "watch_bids_asks", "watch_ticker", "watch_ohlcv"]

_DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Quirks:
    """One exchange.

    Parameters
    ----------
    streams
        The streams that work, by ccxt's name. One that ccxt offers and that never resolves is left out.
    best_price
        The stream that carries bid and ask; where none works, they are the top of the book.
    book_depth
        What to ask of `watch_order_book`: the least that the exchange offers from 50 levels on.
    subscriptions_per_connection
        More of them on one connection are refused, or hang for ever.
    connection_life_s
        Seconds after which the exchange closes a connection.
    keep_alive_ms
        Milliseconds between pings; silence is noticed after two to three of them.
    ohlcv_page
        Bars in one answer.
    ohlcv_depth
        Bars that the exchange gives at all, counted from now; None: the whole history.
    trades_page
        Public trades in one answer.
    trade_ids
        Whether public trades carry ids.
    consecutive_trade_ids
        Whether those of the stream grow by one, so that a hole is a loss.
    sums_trades
        Whether a streamed trade may stand for several of one order at one price, with the id of the last of
        them, while a request gives each by itself: see `levibot.exchange.summing`.
    needs_protobuf
        Whether pushes are protobuf, which ccxt does not depend on.
    spot_options, swap_options
        Options of ccxt that limit it to spot markets, and that let it see swaps too.
    skips_swaps
        Whether ccxt asks for swap markets even so, and must be kept from it.
    """

    streams: frozenset[Watch] = frozenset({"watch_trades", "watch_order_book"})
    best_price: Literal["watch_bids_asks", "watch_ticker", "watch_order_book"] = "watch_order_book"
    book_depth: int | None = None
    subscriptions_per_connection: int = 20
    connection_life_s: float = _DAY_S
    keep_alive_ms: int = 10_000
    ohlcv_page: int = 100
    ohlcv_depth: int | None = None
    trades_page: int = 100
    trade_ids: bool = True
    consecutive_trade_ids: bool = False
    sums_trades: bool = False
    needs_protobuf: bool = False
    spot_options: Mapping[str, Any] = field(default_factory=dict)
    swap_options: Mapping[str, Any] = field(default_factory=dict)
    skips_swaps: bool = False


_BASIC: frozenset[Watch] = frozenset({"watch_trades", "watch_order_book"})

_TABLE: Mapping[str, Quirks] = {
    "binance": Quirks(
        streams=_BASIC | {"watch_bids_asks", "watch_ticker", "watch_ohlcv"},  # the ticker has no bid and ask
        best_price="watch_bids_asks",
        book_depth=500,  # half the weight of 1 000; with 100 the price soon leaves the levels that are known
        subscriptions_per_connection=200,  # 1 024 are allowed; fewer are lost with one connection
        keep_alive_ms=1_600,  # a missing pong is noticed at the third ping
        ohlcv_page=1000,
        trades_page=1000,
        consecutive_trade_ids=True,
        spot_options={
            "defaultType": "spot",
            "fetchMarkets": {"types": ["spot"]},
            "fetchMargins": False,
            "fetchCurrencies": False,
            "fetchTradesMethod": "publicGetTrades",  # by itself it asks for aggregates, whose ids are others
            "streamLimits": {"spot": 1, "linear": 1},  # all streams of one object share a connection
            "subscriptionLimitByStream": {"spot": 1024, "linear": 1024},
        },
        swap_options={"fetchMarkets": {"types": ["spot", "linear"]}},
    ),
    "mexc": Quirks(
        # watch_bids_asks never resolves, watch_tickers is not there, watch_ticker has no last price
        streams=_BASIC | {"watch_ohlcv"},
        book_depth=1000,
        subscriptions_per_connection=30,  # the 31st hangs
        keep_alive_ms=1_600,
        ohlcv_page=500,
        trades_page=1000,
        trade_ids=False,
        needs_protobuf=True,
        spot_options={
            "defaultType": "spot",
            "watchOrderBook": {"snapshotDelay": -1},  # never by ccxt, which waits for 25 updates: see amendments
        },
        skips_swaps=True,  # it asks for them always, and they cost a five-second throttle
    ),
    "bybit": Quirks(
        # To ccxt watch_bids_asks is a book of one level, which takes the place of the deeper one of its symbol.
        streams=_BASIC | {"watch_ticker", "watch_ohlcv"},  # the ticker has no bid and ask
        book_depth=50,  # 1, 50, 200 or 1 000; nothing shows a missing update
        keep_alive_ms=1_600,
        ohlcv_page=1000,
        trades_page=60,  # older ones cannot be had
        spot_options={"defaultType": "spot", "fetchMarkets": {"types": ["spot"]}},
        swap_options={"fetchMarkets": {"types": ["spot", "linear"]}},
    ),
    "okx": Quirks(
        streams=_BASIC | {"watch_bids_asks", "watch_ticker", "watch_ohlcv"},
        best_price="watch_bids_asks",
        ohlcv_page=100,  # newest first: a shorter page than asked for would lack its beginning
        keep_alive_ms=1_600,
        trades_page=500,
        sums_trades=True,  # each by itself only in a stream that wants a login
        spot_options={"defaultType": "spot", "fetchMarkets": {"types": ["spot"]}},
        swap_options={"fetchMarkets": {"types": ["spot", "swap"]}},
    ),
    "kraken": Quirks(
        # What watch_bids_asks brings, ccxt files under tickers without a time; a ticker comes with trades only.
        streams=_BASIC | {"watch_ticker", "watch_ohlcv"},
        book_depth=100,  # 10, 25, 100, 500 or 1 000
        consecutive_trade_ids=True,
        keep_alive_ms=1_600,
        ohlcv_page=720,
        trades_page=1000,
        ohlcv_depth=720,  # it answers with the newest 720 bars, whatever was asked
        spot_options={"ws": {"cost": 0.1}},  # ccxt sends a message a second, as if they were requests
    ),
}
_UNKNOWN = Quirks()


def quirks_of(exchange_id: str) -> Quirks:
    """What is known of an exchange; of one that is not in the table, what is safe anywhere."""
    return _TABLE.get(exchange_id, _UNKNOWN)
