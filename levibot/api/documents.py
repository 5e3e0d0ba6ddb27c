"""Forms of the answers, for OpenAPI: what clients may rely on. Answers may hold more.

They describe and do not check: answers are rendered from the supervisor's own documents, and the tests hold
the two together.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

StatusWord = Literal["stopped", "starting", "running", "paused", "stopping", "crashed", "exhausted"]


class _Form(BaseModel):
    model_config = ConfigDict(extra="allow")


class ProblemForm(_Form):
    """Why a request was refused."""

    detail: str = Field(description="What is wrong.")
    remedy: str = Field(description="What to do about it.")


class WorkerForm(_Form):
    """One process under the supervisor."""

    worker: str = Field(description="Name of the worker, as `levibotctl logs` takes it.")
    kind: str
    status: StatusWord
    ready: bool
    paused: bool
    waiting_for: str = Field(description="What it waits for; empty if for nothing.")
    uptime_seconds: float
    last_heartbeat: float | None = Field(description="Unix seconds.")
    error_count: int
    last_error: str | None
    pid: int | None
    restarts: int
    restart_causes: dict[str, int]
    next_attempt_at: float | None = Field(description="Unix seconds; of a crashed or exhausted worker.")
    rss_bytes: int | None
    uss_bytes: int | None
    cpu_percent: float | None
    queue_depth: int | None
    dropped: int | None
    market_data_age_seconds: float | None


class MarketHealthForm(_Form):
    """What a live source knows of one symbol; counts since the feed's present process began."""

    trades: int
    books: int
    duplicates: int = Field(description="Trades that came twice, and were told once.")
    stales: int = Field(description="Times that it went stale.")
    gaps: int = Field(description="Holes in a sequence of the exchange, or between two connections.")
    corrections: int = Field(description="Bars that the exchange had otherwise.")
    backfilled: int = Field(description="Bars that were read later.")
    synthetic: int = Field(description="Bars in which nothing traded, or that the exchange lacks.")
    renewals: int = Field(description="Subscriptions that were begun anew.")
    malformed: int = Field(description="Answers and frames that made no sense.")
    lag_ms: int | None = Field(description="Newest frame: from the exchange's time to its receipt.")


class LiveSourceForm(_Form):
    """What a live source knows of its exchange; counts since the feed's present process began."""

    exchange: str
    markets: dict[str, MarketHealthForm] = Field(description="By symbol, of those that are only held too.")
    connections: int
    dials: int
    reconnects: int
    probes: int = Field(description="Times that the exchange was asked whether silence is right.")
    frames: int
    parse_seconds_mean: float | None = Field(description="From receipt to publication of a frame.")
    budget_used: float = Field(description="Part of the feed's share of the rate limit that is spent.")
    cool_down_s: float = Field(description="Seconds until the exchange may be asked again; 0: now.")
    cool_down_reason: str
    skew_ms: int | None = Field(description="This clock less the exchange's.")
    trouble: str = Field(description="Newest failure in the background; empty if there was none.")


class RecorderForm(_Form):
    """What the feed's present process has recorded."""

    messages: int
    bytes: int
    dropped: int = Field(description="Messages that the disk was too slow for.")
    trouble: str


class FeedForm(WorkerForm):
    """The feed."""

    worker: Literal["feed"]
    published: int | None
    markets: dict[str, str] | None = Field(
        description="State of each market: `opening`, `live`, `stale: WHY`, `halted`, `ended` or `failed: WHY`."
    )
    live: LiveSourceForm | None = Field(description="Of a live source.")
    recorder: RecorderForm | None = Field(description="While it records.")


class ComponentForm(_Form):
    """What one component of an ensemble said of the newest bar that was judged."""

    probability: float | None = Field(description="Of a rise; null: it said nothing that counts.")
    source: str = Field(description="Name and version of the model, or who gave the value.")
    trouble: str = Field(description="Why it does not count; empty if it does.")
    configured: bool = Field(
        description="Whether the configuration asks for it: if not, its absence is no trouble."
    )


class EngineForm(WorkerForm):
    """The engine of one symbol."""

    symbol: str = Field(description="Canonical: BASE/QUOTE, or BASE/QUOTE:SETTLE of a swap.")
    market: str | None = Field(
        description="What the feed says of its market: `live`, `stale: WHY`, …; null while no feed runs."
    )
    market_health: MarketHealthForm | None = Field(description="With a live source.")
    frozen: str = Field(description="Why the books and the exchange do not agree on it; empty: they do.")
    position: float | None = Field(description="Signed amount of the base asset; null: unknown.")
    daily_pnl: float | None = Field(description="In the quote asset.")
    total_pnl: float | None = Field(description="In the quote asset.")
    trade_count: int | None
    price: float | None
    signal: str | None
    probability: float | None = Field(
        description="That the bet of `signal` is won: of a short, that the price falls. Not `prob_up`."
    )
    prob_up: float | None = Field(
        description="Newest probability of a rise, whatever the signal made of it; null after a hole."
    )
    confidence: float | None = Field(description="0: as good as a coin, 1: certain.")
    components: dict[str, ComponentForm] | None = Field(description="What `prob_up` is made of, by name.")


class ChannelForm(_Form):
    """One way to people; a target is named by its line, never by its URL."""

    state: Literal["waiting", "sent", "given_up"]
    detail: str


class AlertForm(_Form):
    """Something that an operator should know."""

    id: str = Field(description="From raising to clearing; the same key raised again is another alert.")
    key: str = Field(description="One cause has one key.")
    state: Literal["standing", "cleared"]
    severity: Literal["warning", "critical"]
    message: str
    remedy: str
    raised_at: float = Field(description="Unix seconds, like all times.")
    last_at: float = Field(description="When it was raised again.")
    raises: int
    cleared_at: float | None
    cleared_by: str = Field(description="`over`, or `restarted` with the daemon.")


class TestForm(_Form):
    """A test alert is on its way."""

    ok: Literal[True]
    notice: str = Field(description="Ask for its outcome at `/alerts/test/{notice}`.")


class OutcomeForm(_Form):
    """What became of a test alert so far."""

    done: bool = Field(description="Nothing more is to come.")
    channels: list[ChannelForm]


class ProtectionForm(_Form):
    """An order that waits for a price to close a position."""

    kind: Literal["stop", "take_profit", "trailing_stop", "market", "limit"]
    quantity: float
    trigger_price: float | None
    on_exchange: bool = Field(description="Works while the daemon is down; others are watched by the broker.")


class HoldingForm(_Form):
    """An open position, and what protects it."""

    symbol: str
    quantity: float = Field(description="Signed amount of the base asset.")
    entry_price: float
    missing: float = Field(description="Of that, what the exchange does not have: nothing can protect it.")
    frozen: str = Field(description="Why nothing may be opened in the symbol; empty: it may.")
    protection: list[ProtectionForm]
    dust: bool = Field(description="It is too small to be sold.")


class StatusForm(_Form):
    """All that the supervisor knows."""

    total: int
    running: int = Field(description="Engines that are ready.")
    crashed: int = Field(description="Engines that wait for their next attempt, exhausted ones too.")
    stopped: int
    starting: int
    waiting: int = Field(description="Engines that run and wait for feed, broker or bootstrap.")
    paused: int
    engines: list[EngineForm]
    workers: list[FeedForm | WorkerForm] = Field(description="Feed, broker, and whatever else serves all symbols.")
    untraded_positions: dict[str, float] = Field(
        description="Signed base amounts held of symbols that are no longer traded, and sold by their stops alone."
    )
    holdings: list[HoldingForm]
    holdings_known: bool = Field(description="Whether the broker has told since the start what is held.")
    daemon: dict[str, Any]
    alerts: list[AlertForm]


class CommandForm(_Form):
    """A command to one engine was carried out."""

    ok: Literal[True]
    symbol: str
    status: Literal[
        "started", "stopped", "restarted", "paused", "resumed", "added", "removed", "reset", "settled", "closed"
    ]


class WorkerCommandForm(_Form):
    """A command to a worker that serves all symbols was carried out."""

    ok: Literal[True]
    worker: str
    status: Literal["restarted"]


class ResetForm(_Form):
    """All restart budgets were given back."""

    ok: Literal[True]
    status: Literal["reset"]
    workers: list[str]


class DoneForm(_Form):
    """A command to the daemon was carried out, or has begun."""

    ok: Literal[True]


class MessageForm(DoneForm):
    """The same, in words."""

    message: str


class ReloadForm(MessageForm):
    """What a reload changed, by symbol."""

    added: list[str]
    removed: list[str]
    changed: list[str]
    restarted: list[str]


class StoppingForm(DoneForm):
    """The daemon stops."""

    positions: dict[str, float] = Field(description="Signed base amounts that remain, by symbol.")
    holdings: list[HoldingForm]
    holdings_known: bool = Field(description="Whether the broker has told since the start what is held.")


class RiskForm(_Form):
    """State of risk; fractions, amounts in the quote asset, null: unknown."""

    equity_now: float | None
    equity_start_day: float | None
    realized_today_pct: float | None
    positions_open: int
    global_stop: bool
    policy: dict[str, Any]


class FlattenForm(_Form):
    """How far the positions are closed that the kill switch wants closed."""

    done: bool = Field(description="Nothing but dust is left; the portfolio is HALTED.")
    left: dict[str, str] | None = Field(
        description="By symbol, what hinders or which attempt is under way; null: the broker has not told yet."
    )
    dust: dict[str, str] | None = Field(description="By symbol, quantities too small to be sold.")


class LiveForm(_Form):
    """Kill switch and mode."""

    kill_switch: bool
    reason: str
    mode: Literal["paper", "live"]
    active: bool = Field(description="Whether positions may be opened now.")
    state: Literal["ACTIVE", "REDUCING", "HALTED"]
    held_back_by: str = Field(description="All that keeps the portfolio from being ACTIVE.")
    since_ms: int | None = Field(description="When the kill switch was set, Unix milliseconds.")
    who: str = Field(description="Who set it.")
    confirmed: bool = Field(description="The broker is in this state, and has cancelled what must not rest.")
    entries_left: list[str] | None = Field(description="Client ids of resting entries; null: not told yet.")
    flatten: FlattenForm | None
    holdings: list[HoldingForm]
    holdings_known: bool = Field(description="Whether the broker has told since the start what is held.")


class CallerForm(_Form):
    """Who asked."""

    name: str = Field(description="User, file of the token, signal, or `risk` for what happened by itself.")
    way: Literal["unix", "tcp", "signal", "process"]
    uid: int | None
    pid: int | None


class AuditEntryForm(_Form):
    """One command."""

    at: str = Field(description="UTC, ISO 8601.")
    action: str
    subject: str = Field(description="Symbol, worker, or what else it was about.")
    options: dict[str, str]
    reason: str
    outcome: str = Field(description="`done`, or why it was refused.")
    who: CallerForm


class AuditForm(_Form):
    """What operators did."""

    entries: list[AuditEntryForm]
    unwritten: int = Field(description="Of these, entries that the disk has refused so far.")
    lost: int = Field(description="Entries that neither disk nor memory had room for.")


class AltSourceForm(_Form):
    """A source of alternative data; counts since its process began."""

    ok: bool = Field(description="The newest fetch was whole.")
    age_seconds: float | None = Field(description="Since it answered in full; null: it never did.")
    values: int = Field(description="That are not too old to be used.")
    fetches: int = Field(description="That were whole.")
    failures: dict[str, int] = Field(description="By kind.")
    requests: int
    throttled: int = Field(description="Times that a rate limit, the provider's or our own, held it up.")
    next_s: float = Field(description="Seconds until the next fetch.")
    trouble: str = Field(description="Why the newest fetch failed; empty: it did not.")


class AltValueForm(_Form):
    """The last value of an asset under one name."""

    asset: str = Field(description="Base asset; empty: the whole market.")
    name: str
    value: float
    source: str
    observed_ms: int = Field(description="Of what it describes, Unix milliseconds.")
    fetched_ms: int = Field(description="Since when it is known here.")
    age_seconds: float = Field(description="Since then.")
    expired: bool = Field(description="Too old to be used; nobody is told it any more.")


class AltDataForm(_Form):
    """Alternative data: sentiment, on-chain, funding."""

    sources: dict[str, AltSourceForm]
    values: list[AltValueForm]
    trouble: str = Field(description="What keeps them from being written down; empty: nothing.")


class HealthForm(_Form):
    """Whether all workers do their work."""

    ok: bool
    wrong: list[str] = Field(description="What is wrong; empty if nothing is.")
