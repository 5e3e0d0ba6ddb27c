"""The status document: what operators, dashboards and `levibotctl` are shown."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from decimal import Decimal
from operator import attrgetter
from typing import Any

import msgspec

from levibot.bus.messages import (
    AltDataReport,
    BrokerReport,
    EngineReport,
    FeedReport,
    InferenceReport,
    LiveReport,
    LiveTradingReport,
    NotifierReport,
)
from levibot.clock import boot_ns, boot_seconds, wall_ms
from levibot.config import Config
from levibot.holdings import list_in_words
from levibot.risk.portfolio import Portfolio
from levibot.spec import POOL, WorkerKind
from levibot.strategies.components import NONE_YET, SENTIMENT
from levibot.supervisor.history import RestartHistory
from levibot.supervisor.states import Observed, status_word
from levibot.supervisor.worker import Worker


def describe_holdings(portfolio: Portfolio, trading: LiveTradingReport | None) -> list[dict[str, Any]]:
    """Open positions, what protects each, and what is wrong with it at the exchange."""
    frozen, missing = (trading.frozen, trading.missing) if trading is not None else ({}, {})
    return [
        {
            "symbol": symbol,
            "quantity": float(held.quantity),
            "entry_price": float(held.entry_price),
            "missing": missing.get(symbol, 0.0),
            "frozen": frozen.get(symbol, ""),
            "protection": [
                {
                    "kind": order.kind,
                    "quantity": float(order.quantity),
                    "trigger_price": _number(order.trigger_price),
                    "on_exchange": order.on_exchange,
                }
                for order in portfolio.protection(symbol)
            ],
            "dust": portfolio.is_dust(symbol, held.quantity),
        }
        for symbol, held in portfolio.positions.items()
        if held.quantity
    ]


def what_stays(holdings: Iterable[Mapping[str, Any]], removed: Collection[str]) -> str:
    """Of symbols that are traded no more, the positions that are left, to be added to an answer."""
    left = [holding for holding in holdings if holding["symbol"] in removed]
    return f"; what stays is counted on: {list_in_words(left, ends=False)}" if left else ""


def describe_worker(worker: Worker, history: RestartHistory) -> dict[str, Any]:
    """One worker, of whatever kind, in the form of the HTTP contract.

    Times are Unix seconds, ages and uptimes seconds, memory bytes; what is not known is None.
    """
    worker.note_uptime()
    life, now = worker.life, boot_seconds()
    heartbeat = life.heartbeat if worker.running else None
    causes = history.causes(worker.name)
    attempt = worker.next_attempt
    description: dict[str, Any] = {
        "symbol": worker.symbol,
        "worker": worker.name,
        "kind": worker.kind,
        "status": status_word(worker.observed, paused=worker.paused, ready=worker.ready),
        "state": str(worker.observed),
        "ready": worker.ready,
        "paused": worker.paused,
        "waiting_for": heartbeat.waiting_for if heartbeat else "",
        "detail": worker.detail,
        "uptime_seconds": round(now - life.since, 3) if worker.running else 0.0,
        "ready_seconds": round(worker.uptime.ready_seconds, 3),
        "down_seconds": round(worker.uptime.down_seconds, 3),
        "last_heartbeat": life.heartbeat_at_ms / 1000 if life.heartbeat_at_ms else None,
        "error_count": worker.error_total,
        "last_error": worker.last_error,
        "pid": life.process.pid if life.process else None,
        "incarnation": worker.incarnation,
        "restarts": sum(causes.values()),
        "restart_causes": causes,
        "restarts_in_window": len(worker.restarts()),
        "next_attempt_at": (wall_ms() / 1000 + attempt.at - now) if attempt else None,
        "rss_bytes": life.sample.rss_bytes if life.sample else None,
        "uss_bytes": life.uss_bytes,
        "cpu_percent": life.sample.cpu_percent if life.sample else None,
        "descriptors": life.sample.descriptors if life.sample else None,
        "queue_depth": heartbeat.queue_depth if heartbeat else None,
        "dropped": heartbeat.dropped if heartbeat else None,
        "preloaded": heartbeat.preloaded if heartbeat else None,
        "market_data_age_seconds": _age(heartbeat.market_ns) if heartbeat else None,
    }
    report = worker.last_report  # of a dead engine the last, for that is when one wants to know
    if worker.kind == "engine":
        description |= _describe(report if isinstance(report, EngineReport) else None, _ENGINE_FIELDS)
    if worker.kind in POOL:
        description |= _describe(report if isinstance(report, InferenceReport) else None, _INFERENCE_FIELDS)
    if isinstance(report, NotifierReport):
        description |= msgspec.structs.asdict(report)
    if worker.kind == "feed":
        description |= _describe(report if isinstance(report, FeedReport) else None, _FEED_FIELDS)
    if isinstance(report, AltDataReport):
        description |= {
            "sources": {
                name: "ok" if source.ok else "failing" if any(source.failures.values()) else "none"
                for name, source in report.sources.items()
            },
            "values": len(report.values),
            "refused_messages": report.refused_messages,
            "trouble": report.trouble,
        }
    if isinstance(report, BrokerReport):
        description["account"] = msgspec.structs.asdict(report.live) if report.live else None
    return description


def describe_market(feed: FeedReport | None, symbol: str) -> dict[str, Any]:
    """What the feed says of the market of one symbol; None where it does not run, or knows nothing.

    Parameters
    ----------
    feed
        Report of the feed that runs; None if none does.
    symbol
        Canonical.
    """
    health = feed.live.markets.get(symbol) if feed is not None and feed.live is not None else None
    return {
        "market": feed.symbols.get(symbol) if feed is not None else None,
        "market_health": msgspec.structs.asdict(health) if health is not None else None,
    }


def explain_sentiment(components: dict[str, Any], config: Config) -> None:
    """Put right why there is no sentiment by the configuration in force, which an engine cannot know.

    Parameters
    ----------
    components
        Of an engine, as `describe_worker` gives them; changed.
    config
        In force.
    """
    sentiment = components.get(SENTIMENT)
    if sentiment is None or sentiment["probability"] is not None:
        return
    if not config.altdata.news.enabled and sentiment["trouble"] == NONE_YET:
        sentiment |= {"trouble": "absent: [altdata.news] is not enabled", "configured": False}
    elif config.feed.source != "ccxt":
        sentiment["trouble"] = "this market's time is not now"


def describe_altdata(report: AltDataReport | None) -> dict[str, Any]:
    """What is known of alternative data, expired values too; nothing without the process for it."""
    if report is None:
        return {"sources": {}, "values": [], "trouble": ""}
    now_ms = wall_ms()
    return {
        "sources": {
            name: {**msgspec.structs.asdict(source), "age_seconds": _since(source.fetched_ms, now_ms)}
            for name, source in report.sources.items()
        },
        "values": [
            {
                **msgspec.structs.asdict(value),
                "age_seconds": _since(value.fetched_ms, now_ms),
                "expired": now_ms >= value.expires_ms,
            }
            for value in sorted(report.values, key=lambda value: (value.asset, value.name, value.source))
        ],
        "trouble": report.trouble,
    }


def describe_pool(workers: Collection[Worker], asks_model: Callable[[str], bool]) -> dict[str, str]:
    """The models that engines are answered with, and what is wrong with them, over all pool processes.

    Where no engine asks a model nothing is wrong.

    Parameters
    ----------
    workers
        All there are.
    asks_model
        Whether the configured strategy of a symbol is known to ask one; others have asked or not.
    """
    there, models, troubles = _describe_lane(workers, "inference")
    if not there:
        troubles = ["no inference pool: inference.processes is 0"]
    _, sequence_models, sequence_troubles = _describe_lane(workers, "tft")
    if not any(_has_asked(worker) or asks_model(worker.symbol) for worker in workers if worker.symbol):
        troubles = sequence_troubles = []
    return {
        "model": ", ".join(models),
        "model_trouble": "; ".join(troubles),
        "tft_model": ", ".join(sequence_models),
        "tft_trouble": "; ".join(sequence_troubles),
    }


def _describe_lane(workers: Collection[Worker], kind: WorkerKind) -> tuple[bool, list[str], list[str]]:
    """Whether there is such a lane, the models that it serves, and its troubles."""
    lane = [worker for worker in workers if worker.kind == kind]
    serving = [worker.last_report for worker in lane if worker.ready]
    reports = [report for report in serving if isinstance(report, InferenceReport)]
    models = sorted({report.model for report in reports if report.model})
    troubles = sorted({report.trouble for report in reports if report.trouble})
    if lane and not reports:
        troubles = [f"no {kind} process is ready"]
    return bool(lane), models, troubles


def _has_asked(worker: Worker) -> bool:
    report = worker.last_report
    return isinstance(report, EngineReport) and bool(report.predictions or report.missed)


def summarize(engines: list[dict[str, Any]]) -> dict[str, int]:
    """Engines counted by state, in the words of the contract."""
    states = [engine["state"] for engine in engines]
    return {
        "total": len(engines),
        "running": sum(engine["ready"] for engine in engines),
        "crashed": sum(state in (Observed.BACKOFF, Observed.EXHAUSTED) for state in states),
        "stopped": sum(state in (Observed.STOPPED, Observed.STOPPING) for state in states),
        "starting": states.count(Observed.STARTING),
        "waiting": sum(engine["state"] == Observed.RUNNING and not engine["ready"] for engine in engines),
        "paused": sum(engine["ready"] and engine["paused"] for engine in engines),
    }


def _describe(report: Any, fields: Mapping[str, Callable[[Any], Any]]) -> dict[str, Any]:
    return {name: None if report is None else read(report) for name, read in fields.items()}


def _live(live: LiveReport | None) -> dict[str, Any] | None:
    if live is None:
        return None
    fields = msgspec.structs.asdict(live)
    buckets, seconds = fields.pop("parse_buckets"), fields.pop("parse_seconds")
    return {
        **fields,
        "markets": {symbol: msgspec.structs.asdict(health) for symbol, health in live.markets.items()},
        "parse_seconds_mean": seconds / buckets[-1] if buckets and buckets[-1] else None,
    }


def _number(value: Decimal | None) -> float | None:
    return None if value is None else float(value)


def _since(at_ms: int | None, now_ms: int) -> float | None:
    return None if at_ms is None else max(0.0, (now_ms - at_ms) / 1000)


def _age(received_ns: int | None) -> float | None:
    return None if received_ns is None else round((boot_ns() - received_ns) / 1e9, 3)


_ENGINE_FIELDS: dict[str, Callable[[EngineReport], Any]] = {
    **{name: attrgetter(name) for name in ("price", "signal", "probability", "confidence")},
    "position": lambda report: _number(report.position),
    "entry_price": lambda report: _number(report.entry_price),
    "daily_pnl": lambda report: _number(report.daily_pnl),
    "total_pnl": lambda report: _number(report.total_pnl),
    **{name: attrgetter(name) for name in ("trade_count", "signals", "ticks", "conflated", "tick_latency_us")},
    **{name: attrgetter(name) for name in ("bar_ms", "ledger", "prob_up")},
    "model": lambda report: report.model or None,
    **{name: attrgetter(name) for name in ("no_model", "predictions")},
    "predictions_missed": attrgetter("missed"),
    "components": lambda report: {name: msgspec.structs.asdict(one) for name, one in report.components.items()},
}
_INFERENCE_FIELDS: dict[str, Callable[[InferenceReport], Any]] = {
    name: attrgetter(name)
    for name in ("model", "trouble", "answered", "refused", "expired", "batches", "swaps", "refused_messages")
}
_FEED_FIELDS: dict[str, Callable[[FeedReport], Any]] = {
    **{name: attrgetter(name) for name in ("published", "refused_messages")},
    "markets": attrgetter("symbols"),
    "live": lambda report: _live(report.live),
    "recorder": lambda report: msgspec.structs.asdict(report.recorder) if report.recorder else None,
}
