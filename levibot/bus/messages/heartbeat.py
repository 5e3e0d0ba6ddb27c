"""Signs of life (PUSH → PULL of the supervisor)."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from levibot.bus.messages.altdata import AltData
from levibot.bus.messages.base import Message, MoneyMessage
from levibot.bus.messages.inference import Component

INFERENCE_BOUNDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0)  # seconds; one more bucket is without bound
ORDER_BOUNDS = INFERENCE_BOUNDS
PARSE_BOUNDS = (0.0001, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.5)  # seconds; one more is without bound


class EngineReport(MoneyMessage, frozen=True, tag=True):
    price: float | None
    signal: str | None  # "long", "short", "flat", or None before the first
    probability: float | None
    confidence: float | None
    position: Decimal | None
    entry_price: Decimal | None
    daily_pnl: Decimal | None
    total_pnl: Decimal | None
    trade_count: int
    signals: dict[str, int]  # count by side
    ticks: int  # kept
    conflated: int  # replaced by a later tick before they were looked at
    tick_latency_us: int  # newest tick: entered the machine → strategy called
    bar_ms: int | None  # opening time of the newest closed bar
    ledger: str = "ok"  # or what was wrong with it
    ledger_aside: str = ""  # name of the damaged file in whose place a new one was rebuilt
    refused_messages: int = 0  # that did not decode, or made no sense
    prob_up: float | None = None  # newest probability of a rise, whatever the signal made of it
    model: str = ""  # name/version that gave the newest answer
    no_model: str = ""  # why the newest question had no answer that may be acted on; empty if it had one
    predictions: int = 0  # answers in time
    missed: int = 0  # questions without an answer in time
    inference_buckets: list[int] = msgspec.field(
        default_factory=list
    )  # answers by round trip, cumulative, as of INFERENCE_BOUNDS
    inference_seconds: float = 0.0  # sum of all round trips
    order_buckets: list[int] = msgspec.field(
        default_factory=list
    )  # orders by time from decision to acceptance, cumulative, as of ORDER_BOUNDS
    order_seconds: float = 0.0  # sum of these times
    missed_in_a_row: int = 0  # newest questions without an answer in time
    trades: int = 0  # public ones that the strategy was given
    books: int = 0  # that were kept
    corrections: int = 0  # bars that the exchange had otherwise
    refused_writes: int = 0  # of the ledger, by a full disk
    # what a probability is made of, by name
    components: dict[str, Component] = msgspec.field(default_factory=dict)


class MarketHealth(Message, frozen=True):
    """What a live source knows of one symbol; counts since the feed's start."""

    trades: int = 0
    books: int = 0
    duplicates: int = 0  # trades that came twice
    stales: int = 0  # times that it went stale
    gaps: int = 0  # holes in a sequence of the exchange, or between two connections
    corrections: int = 0  # bars that the exchange had otherwise
    backfilled: int = 0  # bars read by REST
    synthetic: int = 0  # bars in which nothing traded, or that the exchange lacks
    renewals: int = 0  # subscriptions begun anew
    malformed: int = 0  # answers and frames that made no sense
    lag_ms: int | None = None  # newest frame: exchange time → receipt, by the exchange's clock
    late: int = 0  # trades too old to be told from those that were counted; refused
    missed: int = 0  # bars that held more than all trades that came, though no gap was seen


class FeedReport(Message, frozen=True, tag=True):
    published: int
    symbols: dict[str, str]  # symbol → state in words
    event_ms: int | None
    ended: bool
    refused_messages: int = 0
    live: LiveReport | None = None  # of a live source
    recorder: RecorderReport | None = None  # while there is one


class LiveReport(Message, frozen=True):
    """What a live source knows of its exchange; counts since the feed's start."""

    exchange: str
    markets: dict[str, MarketHealth]
    connections: int  # open now
    dials: int
    reconnects: int  # connections that were lost and replaced
    probes: int  # times that the exchange was asked whether silence is right
    frames: int
    parse_buckets: list[int]  # frames by time from receipt to publication, cumulative, as of PARSE_BOUNDS
    parse_seconds: float
    budget_used: float  # part of the rate limit's share that is spent, 0..1
    cool_down_s: float  # until requests are allowed again; 0: they are
    cool_down_reason: str
    skew_ms: int | None  # this clock less the exchange's
    trouble: str = ""  # newest failure in the background


class RecorderReport(Message, frozen=True):
    """What has been recorded since the feed's start."""

    messages: int
    bytes: int  # written to disk
    dropped: int  # messages that the disk was too slow for
    trouble: str = ""


class BrokerReport(Message, frozen=True, tag=True):
    seq: int
    open_orders: int
    orders: dict[str, int]  # count by state
    refused_messages: int
    unprotected: list[str] = msgspec.field(default_factory=list)  # symbols whose position no stop covers
    refused_writes: int = 0  # of the books, by a full disk
    live: LiveTradingReport | None = None  # of real money


class LiveTradingReport(Message, frozen=True):
    """How the books stand to the exchange."""

    frozen: dict[str, str]  # symbol → why nothing may be opened in it
    unknown_orders: int  # whose answer was lost, and that are being asked for
    foreign_orders: int  # open ones that are not ours; left alone
    reconciled_s: float | None  # age of the last whole comparison; None: there was none yet
    drift: dict[str, str]  # asset → what is short, and by how much
    trouble: str = ""  # what keeps the books from being compared; empty if nothing does
    missing: dict[str, float] = msgspec.field(default_factory=dict)  # symbol → base amount that is not there


class InferenceReport(Message, frozen=True, tag=True):
    model: str  # name/version that is served; empty if there is none
    trouble: str  # why none is, or why a newer one is not
    answered: int
    refused: int  # requests that got a refusal: no model, wrong features, NaN
    expired: int  # requests that were older than their deadline
    batches: int
    swaps: int  # models taken over after the first
    refused_messages: int = 0


class NotifierReport(Message, frozen=True, tag=True):
    sent: int
    failed: int  # attempts
    waiting: int  # deliveries in the outbox
    given_up: int = 0  # deliveries that were tried for a day, or whose channel is no more
    heartbeats: int = 0  # outward ones that were answered
    heartbeats_failed: int = 0
    heartbeats_withheld: int = 0  # as all was not well
    trouble: str = ""  # what the operator should know; never a URL


class AltSourceHealth(Message, frozen=True):
    """How one source of alternative data fares."""

    ok: bool  # its last fetch did not fail, nor a part of it
    fetched_ms: int | None  # last whole answer; None: there was none yet
    values: int  # that are not too old
    max_age: float  # seconds
    fetches: int  # without a failure
    failures: dict[str, int]  # by kind
    requests: int
    throttled: int  # times that a rate limit, the provider's or our own, held it up
    next_s: float  # until the next fetch
    since_ms: int  # the process began to ask then
    trouble: str  # why the last fetch failed, or values of it are left out; no secret


class AltDataReport(Message, frozen=True, tag=True):
    sources: dict[str, AltSourceHealth]
    values: list[AltData]  # the last known, expired ones too
    refused_messages: int = 0
    trouble: str = ""  # of the disk


Report = EngineReport | FeedReport | BrokerReport | InferenceReport | NotifierReport | AltDataReport


class Heartbeat(Message, frozen=True):
    """Proof of work, sent by the loop that does the work."""

    worker: str
    incarnation: int
    pid: int
    ready: bool
    waiting_for: str  # "" when ready
    paused: bool
    turns: int  # of the loop
    market_ns: int | None  # when the newest market data was received
    decision_ns: int | None  # newest decision
    errors: int
    last_error: str
    queue_depth: int
    dropped: int
    preloaded: bool  # the forkserver's preload took
    report: Report | None = None
