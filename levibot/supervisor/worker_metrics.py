"""The metrics of workers: of all, of engines, of the pool's processes.

Of a worker that does not run, counters and what is durable stay as they were last told; what describes the
present moment (queues, ages, probabilities, an open position's worth) is absent, for it would mislead.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from levibot.bus.messages import INFERENCE_BOUNDS, ORDER_BOUNDS, EngineReport, Heartbeat, InferenceReport
from levibot.observability.metrics import Buckets, Family, Reading
from levibot.supervisor.health import CAUSES
from levibot.supervisor.history import RestartHistory
from levibot.supervisor.process import Sample
from levibot.supervisor.recovery import RestartPolicy
from levibot.supervisor.states import STATUS_WORDS, exact_word
from levibot.supervisor.worker import Worker

_ENGINE_STATUS = {"running": 1, "paused": 1, "crashed": 2, "exhausted": 2}  # all others 0
_SIDES = ("long", "short", "flat")


@dataclass(slots=True)
class WorkerView:
    """What is known of a worker at one moment. Ages and uptime in seconds."""

    name: str
    kind: str
    symbol: str  # empty if it serves all
    state: str  # one of `STATUS_WORDS`
    running: bool
    uptime: float
    heartbeat: Heartbeat | None  # with the counters of all its processes; of a dead one the last
    heartbeat_age: float | None
    heard_ms: int | None
    market_age: float | None
    errors: int
    causes: dict[str, int]
    budget_left: int | None
    sample: Sample | None
    uss_bytes: int | None
    flat: bool  # the account is known, and holds nothing of its symbol

    @classmethod
    def of(cls, worker: Worker, history: RestartHistory, now: float, *, stranded: bool, flat: bool) -> WorkerView:
        """Look at a worker.

        Parameters
        ----------
        worker, history
            The worker, and everyone's restarts.
        now
            CLOCK_BOOTTIME in seconds.
        stranded
            Something that it needs is missing, so it waits, whatever it says itself.
        flat
            See the attribute.
        """
        life, totals, running = worker.life, worker.totals, worker.running
        ready = worker.ready and not stranded
        heartbeat = totals.heartbeat
        heard = life.heartbeat if running else None
        market_ns = heard.market_ns if heard else None
        return cls(
            name=worker.name,
            kind=worker.kind,
            symbol=worker.symbol or "",
            state=exact_word(worker.observed, paused=worker.paused, ready=ready),
            running=running,
            uptime=now - life.since if running else 0.0,
            heartbeat=heartbeat,
            heartbeat_age=now - (totals.heard_at or life.since) if heard else None,
            heard_ms=totals.heard_ms,
            market_age=None if market_ns is None else max(0.0, now - market_ns / 1e9),
            errors=worker.error_total,
            causes=history.causes(worker.name),
            budget_left=RestartPolicy.of(worker.policy).budget_left(worker.restarts(), now),
            sample=life.sample if life.process else None,
            uss_bytes=life.uss_bytes if life.process else None,
            flat=flat,
        )

    @property
    def engine(self) -> EngineReport | None:
        """An engine's own report."""
        report = self.heartbeat.report if self.heartbeat else None
        return report if isinstance(report, EngineReport) else None

    @property
    def inference(self) -> InferenceReport | None:
        """A pool process's own report."""
        report = self.heartbeat.report if self.heartbeat else None
        return report if isinstance(report, InferenceReport) else None


def _refused(view: WorkerView) -> Reading:
    report = view.heartbeat.report if view.heartbeat else None
    return getattr(report, "refused_messages", None)


def _told(read: Callable[[EngineReport], Reading]) -> Callable[[WorkerView], Reading]:
    """Of the newest report, which may be that of a process that is dead."""
    return lambda view: read(view.engine) if view.engine else None


def _now(read: Callable[[EngineReport], Reading]) -> Callable[[WorkerView], Reading]:
    """Only of an engine that runs."""
    return lambda view: read(view.engine) if view.engine and view.running else None


def _components(report: EngineReport) -> Reading:
    said = ((name, component.probability) for name, component in report.components.items())
    return {name: probability for name, probability in said if probability is not None}


def _total_pnl(view: WorkerView) -> Reading:
    # That of a dead engine still holds if nothing can move it any more.
    report = view.engine if view.running or view.flat else None
    return _number(report.total_pnl) if report else None


def _pool(read: Callable[[InferenceReport], Reading]) -> Callable[[WorkerView], Reading]:
    return lambda view: read(view.inference) if view.inference else None


def _number(value: Decimal | None) -> float | None:
    return None if value is None else float(value)


def _buckets(cumulative: list[int], total: float) -> Buckets | None:
    return Buckets(cumulative, total) if cumulative else None  # it has asked nobody yet, and may never do


WORKER_FAMILIES: tuple[Family[WorkerView], ...] = (
    Family(
        "levi_worker_state",
        "gauge",
        "1 for the state that the worker is in, 0 for all others.",
        lambda view: {word: int(word == view.state) for word in STATUS_WORDS},
        ("state",),
    ),
    Family(
        "levi_worker_uptime_seconds",
        "gauge",
        "How long the present process has run; 0 without one.",
        lambda view: view.uptime,
    ),
    Family(
        "levi_worker_heartbeat_age_seconds",
        "gauge",
        "Age of the newest heartbeat, by the supervisor's clock; absent without a process.",
        lambda view: view.heartbeat_age,
    ),
    Family(
        "levi_worker_restarts_total",
        "counter",
        "Automatic restarts by cause, those before the supervisor's own start too.",
        lambda view: {**dict.fromkeys(CAUSES, 0), **view.causes},
        ("cause",),
    ),
    Family(
        "levi_worker_restart_budget_left",
        "gauge",
        "Automatic restarts left in the window; absent for workers that are restarted for ever.",
        lambda view: view.budget_left,
    ),
    Family(
        "levi_worker_errors_total",
        "counter",
        "Errors that the worker survived, over all its processes.",
        lambda view: view.errors,
    ),
    Family(
        "levi_worker_resident_memory_bytes",
        "gauge",
        "Resident memory, shared pages included; absent without a process.",
        lambda view: view.sample.rss_bytes if view.sample else None,
    ),
    Family(
        "levi_worker_unique_memory_bytes",
        "gauge",
        "Memory that would be free again without the process; absent without one.",
        lambda view: view.uss_bytes,
    ),
    Family(
        "levi_worker_cpu_ratio",
        "gauge",
        "Use of CPU as a fraction of one core, over the last sample interval; absent without a process.",
        lambda view: view.sample.cpu_percent / 100 if view.sample else None,
    ),
    Family(
        "levi_worker_open_descriptors",
        "gauge",
        "Open file descriptors; absent without a process.",
        lambda view: view.sample.descriptors if view.sample else None,
    ),
    Family(
        "levi_worker_queue_depth",
        "gauge",
        "Messages that waited at the newest turn of its loop; absent without a process.",
        lambda view: view.heartbeat.queue_depth if view.heartbeat and view.running else None,
    ),
    Family(
        "levi_worker_dropped_messages_total",
        "counter",
        "Messages and log lines that were lost.",
        lambda view: view.heartbeat.dropped if view.heartbeat else None,
    ),
    Family(
        "levi_worker_refused_messages_total",
        "counter",
        "Messages that did not decode or made no sense; nothing else was harmed.",
        _refused,
    ),
    Family(
        "levi_worker_market_data_age_seconds",
        "gauge",
        "How long ago the worker last received market data; absent without a process, or before the first.",
        lambda view: view.market_age,
    ),
)

ENGINE_FAMILIES: tuple[Family[WorkerView], ...] = (
    Family(
        "levi_engine_status",
        "gauge",
        "0 stopped or starting, 1 running or paused, 2 crashed or exhausted; levi_worker_state is exact.",
        lambda view: _ENGINE_STATUS.get(view.state, 0),
    ),
    Family(
        "levi_engine_uptime_seconds",
        "gauge",
        "How long the engine's present process has run; 0 without one.",
        lambda view: view.uptime,
    ),
    Family(
        "levi_engine_last_heartbeat",
        "gauge",
        "Unix time in seconds of the engine's newest heartbeat, of whatever process; absent before the first.",
        lambda view: None if view.heard_ms is None else view.heard_ms / 1000,
    ),
    Family(
        "levi_engine_errors_total",
        "counter",
        "Errors that the engine survived, over all its processes.",
        lambda view: view.errors,
    ),
    Family(
        "levi_signal_prob_up",
        "gauge",
        "Newest probability of a rise; absent without an answer, after a hole, and while the engine does not run.",
        _now(lambda report: report.prob_up),
    ),
    Family(
        "levi_signal_confidence",
        "gauge",
        "Confidence of the newest signal, 0 to 1; absent without one, and while the engine does not run.",
        _now(lambda report: report.confidence),
    ),
    Family(
        "levi_signal_component",
        "gauge",
        "What each component of the ensemble gives as the probability of a rise; absent while it does not count.",
        _now(_components),
        ("component",),
    ),
    Family(
        "levi_signals_total",
        "counter",
        "Signals by side.",
        _told(lambda report: {**dict.fromkeys(_SIDES, 0), **report.signals}),
        ("side",),
    ),
    Family(
        "levi_engine_ticks_total",
        "counter",
        "Ticks that the engine looked at.",
        _told(lambda report: report.ticks),
    ),
    Family(
        "levi_engine_conflated_ticks_total",
        "counter",
        "Ticks that a later one replaced before the engine looked at them; nothing is wrong with that.",
        _told(lambda report: report.conflated),
    ),
    Family(
        "levi_engine_tick_latency_seconds",
        "gauge",
        "Newest tick: from its arrival on this machine until the strategy had seen it; absent without a process.",
        _now(lambda report: report.tick_latency_us / 1e6),
    ),
    Family(
        "levi_trades_total",
        "counter",
        "Positions that were opened, ever.",
        _told(lambda report: None if report.position is None else report.trade_count),
    ),
    Family(
        "levi_engine_daily_pnl",
        "gauge",
        "Profit since 00:00 UTC in the quote asset, open position included; absent while the engine does not run.",
        _now(lambda report: _number(report.daily_pnl)),
    ),
    Family(
        "levi_engine_total_pnl",
        "gauge",
        "Profit ever, in the quote asset; absent while a position is open that no running engine values.",
        _total_pnl,
    ),
    Family(
        "levi_order_latency_seconds",
        "histogram",
        "Orders by the time from the engine's decision to the acceptance that it heard of.",
        _told(lambda report: _buckets(report.order_buckets, report.order_seconds)),
        bounds=ORDER_BOUNDS,
    ),
    Family(
        "levi_inference_latency_seconds",
        "histogram",
        "Answers of the inference pool by round trip; absent for a strategy that asks no model.",
        _told(lambda report: _buckets(report.inference_buckets, report.inference_seconds)),
        bounds=INFERENCE_BOUNDS,
    ),
    Family(
        "levi_inference_answers_total",
        "counter",
        "Questions to the pool that were answered in time.",
        _told(lambda report: report.predictions),
    ),
    Family(
        "levi_inference_missed_total",
        "counter",
        "Questions to the pool without an answer in time; the engine had no signal then.",
        _told(lambda report: report.missed),
    ),
)

INFERENCE_FAMILIES: tuple[Family[WorkerView], ...] = (
    Family(
        "levi_inference_requests_total",
        "counter",
        "Requests to a pool process by what became of them.",
        _pool(
            lambda report: {
                "answered": report.answered,
                "refused": report.refused,
                "expired": report.expired,
            }
        ),
        ("outcome",),
    ),
    Family(
        "levi_inference_batches_total",
        "counter",
        "Micro-batches that a pool process computed.",
        _pool(lambda report: report.batches),
    ),
    Family(
        "levi_inference_swaps_total",
        "counter",
        "Models that a pool process took over after its first.",
        _pool(lambda report: report.swaps),
    ),
    Family(
        "levi_inference_serving",
        "gauge",
        "1 if the pool process runs and has a model, 0 if not.",
        lambda view: int(bool(view.running and view.inference and view.inference.model)),
    ),
)
