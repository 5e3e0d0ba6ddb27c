"""A supervisor without workers: keeps a table of engines, and serves it over the real server."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import structlog

from levibot.alerting.alert import Alert
from levibot.alerting.alerts import Alerts
from levibot.alerting.journal import AlertJournal
from levibot.api.caller import Caller
from levibot.api.operations import AlreadySoError, RefusedError, ShuttingDownError
from levibot.api.server import ApiServer
from levibot.clock import wall_ms
from levibot.config import ApiConfig
from levibot.errors import ConfigError, UnknownSymbolError
from levibot.observability.exposition import Exposition

WITHOUT_TCP = ApiConfig(port=0)
HOLDING = {
    "symbol": "BTC/USDT",
    "quantity": 0.5,
    "entry_price": 100.0,
    "missing": 0.0,
    "frozen": "",
    "protection": [
        {"kind": "stop", "quantity": 0.5, "trigger_price": 95.0, "on_exchange": True},
        {"kind": "take_profit", "quantity": 0.5, "trigger_price": 110.0, "on_exchange": False},
    ],
    "dust": False,
}


class SmallDaemon:
    def __init__(self, *symbols: str) -> None:
        self.states = dict.fromkeys(symbols or ("BTC/USDT", "ETH/USDT", "ETH/USDT:USDT"), "running")
        self.pid = os.getpid()
        self.stopping = False
        self.kill_switch: tuple[bool, str] = (False, "")
        self.broken_file = False
        self.healthy = True
        self.errors: list[str] = []
        self.calls: list[str] = []
        self.recorded: list[tuple[Caller, dict[str, Any]]] = []
        self.unwritten = 0
        self.entries_left: list[str] = []
        self.flattening = False
        self.holdings_known = True
        self.flatten_steps: list[dict[str, str]] = []  # what is left, at each look
        self.alt_sources: dict[str, Any] = {}
        self.alt_values: list[dict[str, Any]] = []
        self.listed: list[Alert] = []  # of `alerts`, which waits until
        self.waiting = asyncio.Event()
        journal = AlertJournal(Path("/dev/null/alerts.sqlite"), (), 30, wall_ms)  # no disk takes it
        self.alerts_raised = Alerts(structlog.get_logger(), journal, "test", wall_ms)

    def symbols(self) -> Sequence[str]:
        return list(self.states)

    def status_words(self) -> dict[str, str]:
        return {**self.states, "risk": "REDUCING" if self.kill_switch[0] else "ACTIVE"}

    def unexpected(self, error: Exception) -> None:
        self.errors.append(str(error))

    async def status(self) -> dict[str, Any]:
        engines = [_engine(symbol, state) for symbol, state in self.states.items()]
        running = sum(state == "running" for state in self.states.values())
        return {
            "total": len(engines),
            "running": running,
            "crashed": 0,
            "stopped": len(engines) - running,
            "starting": 0,
            "waiting": 0,
            "paused": 0,
            "engines": engines,
            "workers": [{**_engine("", "running"), "symbol": None, "worker": "feed", **_feed(self.states)}],
            "untraded_positions": {},
            "holdings": [HOLDING] if "BTC/USDT" in self.states else [],
            "holdings_known": self.holdings_known,
            "daemon": {
                "pid": self.pid,
                "version": "0.1.0",
                "uptime_seconds": 5.0,
                "mode": "paper",
                "exchange": "simulated",
                "account": "default",
                "source": "simulated",
                "disclosure": "SIMULATED market with a planted pattern",
                "config_path": None,
                "data_dir": "/nowhere",
                "market_ms": 1_700_000_000_000,
                "recording_ended": False,
                "model": "lightgbm-simulated/20260101T000000Z-001",
                "model_trouble": "",
                "tft_model": "",
                "tft_trouble": "",
                "code_changed": False,
                "shutting_down": self.stopping,
                "risk_state": "ACTIVE",
                "risk_reason": "",
                "equity": "10000",
            },
            "alerts": [
                {
                    "id": "0123456789ab",
                    "key": "feed",
                    "state": "standing",
                    "severity": "warning",
                    "message": "feed restarted",
                    "remedy": "see its log",
                    "raised_at": 1_700_000_000.0,
                    "last_at": 1_700_000_000.0,
                    "raises": 1,
                    "cleared_at": None,
                    "cleared_by": "",
                }
            ],
        }

    def _set(self, symbol: str, wanted: str) -> dict[str, Any]:
        if self.stopping:
            raise ShuttingDownError("the daemon is stopping", "start it again")
        if self.states[symbol] == wanted:
            raise AlreadySoError(f"{symbol} is {wanted} already")
        self.states[symbol] = wanted
        return {}

    async def start(self, symbol: str) -> dict[str, Any]:
        return self._set(symbol, "running")

    async def stop(self, symbol: str) -> dict[str, Any]:
        return {**self._set(symbol, "stopped"), "holding": HOLDING if symbol == "BTC/USDT" else None}

    async def restart(self, symbol: str) -> dict[str, Any]:
        self.calls.append(f"restart {symbol}")
        return {}

    async def restart_worker(self, name: str) -> None:
        if name != "feed":
            raise UnknownSymbolError(f"no such worker: {name!r} (there are: feed)")
        self.calls.append(f"restart {name}")

    async def pause(self, symbol: str) -> dict[str, Any]:
        return self._set(symbol, "paused")

    async def resume(self, symbol: str) -> dict[str, Any]:
        return self._set(symbol, "running")

    async def add(self, symbol: str) -> dict[str, Any]:
        if symbol in self.states:
            raise AlreadySoError(f"{symbol} is there already")
        self.states[symbol] = "running"
        return {"message": "holds until the next reload"}

    async def remove(self, symbol: str, *, flatten: bool, keep: bool) -> dict[str, Any]:
        self.calls.append(f"remove {symbol} {flatten} {keep}")
        del self.states[symbol]
        return {"message": "holds until the next reload"}

    def known_symbols(self) -> list[str]:
        return list(self.states)

    async def settle(self, symbol: str, price: Decimal | None, reason: str) -> dict[str, Any]:
        self.calls.append(f"settle {symbol} {price} {reason}")
        if price is None:
            raise RefusedError(f"{symbol}: nothing is missing", "nothing was booked")
        return {"message": f"{symbol}: 0.5 booked as sold at {price}"}

    async def close(self, symbol: str, reason: str, *, pause: bool) -> dict[str, Any]:
        self.calls.append(f"close {symbol} {reason} {pause}")
        return {"message": f"{symbol}: closed"}

    async def reset(self, symbol: str | None) -> dict[str, Any]:
        self.calls.append(f"reset {symbol}")
        return {}

    async def reload(self, *, flatten: bool, keep: bool) -> dict[str, Any]:
        self.calls.append(f"reload {flatten} {keep}")
        if self.broken_file:
            raise ConfigError("/etc/x.toml:3: feed.sped: no such key; did you mean feed.speed?")
        return {"added": ["SOL/USDT"], "removed": [], "changed": [], "restarted": [], "message": "1 added"}

    async def upgrade(self) -> dict[str, Any]:
        raise ValueError("this daemon cannot be upgraded")

    async def shutdown(self) -> dict[str, Any]:
        self.stopping = True
        return {"positions": {"BTC/USDT": 0.5}, "holdings": [HOLDING], "holdings_known": self.holdings_known}

    async def kill(self, on: bool, reason: str, *, flatten: bool) -> dict[str, Any]:
        self.flattening = on and (flatten or self.flattening)
        if not (on and self.kill_switch[0]):  # the first reason stays
            self.kill_switch = (on, reason)
        return await self.live_status()

    async def live_status(self) -> dict[str, Any]:
        on, reason = self.kill_switch
        left = self.flatten_steps.pop(0) if self.flattening and self.flatten_steps else {}
        return {
            "kill_switch": on,
            "reason": reason,
            "mode": "paper",
            "active": not on,
            "state": "REDUCING" if on else "ACTIVE",
            "held_back_by": "",
            "since_ms": None,
            "who": "",
            "confirmed": not self.entries_left,
            "entries_left": self.entries_left,
            "flatten": {"done": not left, "left": left, "dust": {}} if self.flattening else None,
            "holdings": [HOLDING] if self.holdings_known and not (self.flattening and not left) else [],
            "holdings_known": self.holdings_known,
        }

    async def risk_summary(self) -> dict[str, Any]:
        on, reason = self.kill_switch
        return {
            "equity_now": 9_900.0,
            "equity_start_day": 10_000.0,
            "realized_today_pct": None,
            "today_pct": -0.01,
            "positions_open": 1,
            "global_stop": on,
            "kill_switch": on,
            "state": "REDUCING" if on else "ACTIVE",
            "reason": f"kill_switch: {reason}" if on else "",
            "since_ms": 1_700_000_000_000,
            "gross_exposure": 50.0,
            "net_exposure": -50.0,
            "locks": [{"symbol": "*", "rule": "drawdown", "reason": "fell", "until_ms": 1_700_000_000_000}],
            "policy": {"max_positions": 5, "max_order_notional": None},
        }

    async def equity(self, days: int) -> dict[str, Any]:
        return {"quote": "USDT", "now": None, "symbols": [], "days": [], "points": [], "moves": []}

    async def reset_day(self, reason: str) -> dict[str, Any]:
        self.calls.append(f"reset_day {reason}".strip())
        return {"message": "the daily stop is cleared"}

    def record(self, caller: Caller, entry: Mapping[str, Any]) -> None:
        self.recorded.append((caller, dict(entry)))

    async def audit(self, count: int) -> dict[str, Any]:
        who = [{"name": c.name, "way": c.way, "uid": c.uid, "pid": c.pid} for c, _ in self.recorded]
        entries = [
            {"at": "2026-01-31T10:00:00.000+00:00", **entry, "who": one}
            for one, (_, entry) in zip(who, self.recorded, strict=True)
        ]
        return {"entries": entries[-count:], "unwritten": self.unwritten, "lost": 0}

    async def health(self) -> dict[str, Any]:
        return {"ok": self.healthy, "wrong": [] if self.healthy else ["feed is BACKOFF"]}

    async def altdata(self) -> dict[str, Any]:
        return {"sources": self.alt_sources, "values": self.alt_values, "trouble": ""}

    async def alerts(self) -> list[dict[str, Any]]:
        await self.waiting.wait()
        return [alert.document() for alert in self.listed]

    async def metrics(self, accept: str) -> tuple[bytes, str]:
        exposition = Exposition(accept)
        return "".join(exposition.parts([])).encode(), exposition.content_type

    async def test_alerts(self) -> dict[str, Any]:
        return {"notice": "0123456789ab-test"}

    async def test_outcome(self, notice: str) -> dict[str, Any]:
        return {"done": True, "channels": [{"state": "sent", "detail": f"hook: {notice} delivered"}]}


def _engine(symbol: str, state: str) -> dict[str, Any]:
    return {
        "symbol": symbol,
        "status": state,
        "ready": state == "running",
        "waiting_for": "",
        "uptime_seconds": 3723.0,
        "last_heartbeat": 1_700_000_000.0,
        "error_count": 0,
        "last_error": None,
        "position": 0.5,
        "entry_price": 100.0,
        "daily_pnl": 1.25,
        "total_pnl": -2.5,
        "trade_count": 3,
        "price": 101.5,
        "signal": "long",
        "probability": None,
        "confidence": 0.4,
        "prob_up": 0.625,
        "components": {
            "lightgbm": {
                "probability": 0.625,
                "source": "lightgbm-simulated/20260101T000000Z-001",
                "trouble": "",
                "configured": True,
            },
            "tft": {
                "probability": None,
                "source": "",
                "trouble": "absent: inference.tft_processes is 0",
                "configured": False,
            },
        },
        "model": "lightgbm-simulated/20260101T000000Z-001",
        "no_model": "",
        "predictions": 17,
        "predictions_missed": 1,
        "pid": 4242,
        "restarts": 2,
        "restart_causes": {"crash": 2},
        "next_attempt_at": None,
        "rss_bytes": 30_000_000,
        "uss_bytes": 6_000_000,
        "cpu_percent": 1.5,
        "queue_depth": 0,
        "dropped": 0,
        "market_data_age_seconds": 0.2,
        "worker": "engine",
        "detail": "",
        "market": "live",
        "market_health": None,
        "frozen": "",
    }


def _feed(symbols: Iterable[str]) -> dict[str, Any]:
    return {
        "published": 99,
        "refused_messages": 0,
        "markets": dict.fromkeys(symbols, "live"),
        "live": None,
        "recorder": None,
    }


@contextmanager
def serving(daemon: SmallDaemon, socket_path: Path, config: ApiConfig = WITHOUT_TCP) -> Iterator[ApiServer]:
    """Serve from a thread of this process with a loop of its own; tokens lie beside the socket."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    server = ApiServer(daemon, config, socket_path.parent, daemon.alerts_raised)
    try:
        asyncio.run_coroutine_threadsafe(server.start(socket_path), loop).result(60)
        try:
            yield server
        finally:
            asyncio.run_coroutine_threadsafe(server.close(), loop).result(60)
            asyncio.run_coroutine_threadsafe(daemon.alerts_raised.close(), loop).result(60)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
