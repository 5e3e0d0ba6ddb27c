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


class EngineForm(WorkerForm):
    """The engine of one symbol."""

    symbol: str = Field(description="Canonical: BASE/QUOTE, or BASE/QUOTE:SETTLE of a swap.")
    market: str | None = Field(
        description="What the feed says of its market: `live`, `stale: WHY`, …; null while no feed runs."
    )
    market_health: MarketHealthForm | None = Field(description="With a live source.")
    position: float | None = Field(description="Signed amount of the base asset; null: unknown.")
    daily_pnl: float | None = Field(description="In the quote asset.")
    total_pnl: float | None = Field(description="In the quote asset.")
    trade_count: int | None
    price: float | None
    signal: str | None
    probability: float | None = Field(
        description="That the bet of `signal` is won: of a short, that the price falls. Not `prob_up`."
    )
    prob_up: float | None = Field(description="Newest probability of a rise, whatever the signal made of it.")
    confidence: float | None = Field(description="0: as good as a coin, 1: certain.")


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
    daemon: dict[str, Any]
    alerts: list[AlertForm]


class CommandForm(_Form):
    """A command to one engine was carried out."""

    ok: Literal[True]
    symbol: str
    status: Literal["started", "stopped", "restarted", "paused", "resumed", "added", "removed", "reset"]


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


class RiskForm(_Form):
    """State of risk; fractions, amounts in the quote asset, null: unknown."""

    equity_now: float | None
    equity_start_day: float | None
    realized_today_pct: float | None
    positions_open: int
    global_stop: bool
    policy: dict[str, Any]


class LiveForm(_Form):
    """Kill switch and mode."""

    kill_switch: bool
    reason: str
    mode: Literal["paper", "live"]
    active: bool = Field(description="Whether positions may be opened now.")


class HealthForm(_Form):
    """Whether all workers do their work."""

    ok: bool
    wrong: list[str] = Field(description="What is wrong; empty if nothing is.")
