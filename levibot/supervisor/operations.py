"""What the HTTP interface may ask of the supervisor."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from levibot.api.caller import CALLER, Caller
from levibot.api.operations import AlreadySoError, Document, RefusedError, ShuttingDownError
from levibot.bus.messages import Acknowledged
from levibot.clock import boot_ns
from levibot.risk.stops import DAILY_STOP
from levibot.spec import engine_name
from levibot.supervisor.collector import MetricsCollector
from levibot.supervisor.leaving import close_position, settle_positions
from levibot.supervisor.reload import apply_reload
from levibot.supervisor.states import Desired, Observed, status_word
from levibot.supervisor.status import (
    describe_altdata,
    describe_holdings,
    describe_market,
    describe_worker,
    explain_sentiment,
    summarize,
    what_stays,
)
from levibot.supervisor.worker import Worker

if TYPE_CHECKING:
    from levibot.supervisor.daemon import Daemon

_ACKNOWLEDGE_TIME = 2.0
_SETTLE_TIME = 20.0  # seconds
_CONFIRM_TIME = 2.0  # seconds that the broker may take to cancel entries until the answer says what is left
_UNTIL_RELOAD = "holds until the next reload; write it into the configuration to keep it"


class SupervisorOperations:
    """Implements `levibot.api.operations.Operations` on a daemon.

    Parameters
    ----------
    daemon
        The daemon.
    """

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._collector = MetricsCollector(daemon)

    def symbols(self) -> Sequence[str]:
        """See `Operations`."""
        return self._daemon.manager.symbols

    def known_symbols(self) -> Sequence[str]:
        """See `Operations`."""
        return list(dict.fromkeys([*self.symbols(), *self._daemon.risk.portfolio.open_positions]))

    def unexpected(self, error: Exception) -> None:
        """See `Operations`."""
        self._daemon.errors.count("api", error)

    def status_words(self) -> dict[str, str]:
        """See `Operations`."""
        workers = self._daemon.manager.workers.values()
        words = {
            worker.symbol or worker.name: status_word(worker.observed, paused=worker.paused, ready=worker.ready)
            for worker in workers
        }
        return {**words, "risk": self._daemon.risk.status.state}

    async def status(self) -> Document:
        """See `Operations`."""
        daemon, positions = self._daemon, self._daemon.positions()
        trading = daemon.lookout.trading
        frozen = trading.frozen if trading is not None else {}
        workers = [describe_worker(worker, daemon.history) for worker in daemon.manager.workers.values()]
        engines = [entry for entry in workers if entry["kind"] == "engine"]
        for entry in engines:
            entry.update(describe_market(daemon.manager.feed_report, entry["symbol"]))
            explain_sentiment(entry["components"] or {}, daemon.config)
            entry["frozen"] = frozen.get(entry["symbol"], "")
            if not entry["ready"]:  # the last word of a dead engine may be older than its stop
                entry["position"] = positions.get(entry["symbol"])
                entry.update(daemon.equity.profits(entry["symbol"]))
                entry["detail"] = entry["detail"] or daemon.manager.market_trouble(entry["symbol"])
            elif missing := daemon.manager.missing_infrastructure():
                # A ready engine cannot see that its peers are gone; it goes on as soon as they are back.
                entry |= {"ready": False, "waiting_for": missing}
        return {
            **summarize(engines),
            "engines": engines,
            "workers": [entry for entry in workers if entry["kind"] != "engine"],
            "untraded_positions": {s: held for s, held in positions.items() if s not in daemon.manager.engines},
            "holdings": self._holdings(),
            "holdings_known": self._holdings_known,
            "daemon": daemon.describe(),
            "alerts": [alert.document() for alert in daemon.alerts.standing()],
        }

    async def start(self, symbol: str) -> Document:
        """See `Operations`."""
        worker = self._engine(symbol)
        if worker.observed in (Observed.STARTING, Observed.RUNNING):
            raise AlreadySoError(f"{symbol} is started already", f"use `levibotctl restart {symbol}`")
        self._desire(worker, Desired.UP)
        await worker.start()
        return self._outcome(worker)

    async def stop(self, symbol: str) -> Document:
        """See `Operations`."""
        worker = self._engine(symbol)
        if worker.observed is Observed.STOPPED:
            raise AlreadySoError(f"{symbol} is stopped already")
        self._desire(worker, Desired.DOWN)
        await worker.stop("operator")
        holding = next((held for held in self._holdings() if held["symbol"] == symbol), None)
        return {"position": holding["quantity"] if holding else 0.0, "holding": holding}

    async def restart(self, symbol: str) -> Document:
        """See `Operations`."""
        worker = self._engine(symbol)
        self._desire(worker, Desired.UP)
        await worker.restart("operator")
        return self._outcome(worker)

    async def restart_worker(self, name: str) -> None:
        """See `Operations`."""
        self._check_open()
        await self._daemon.manager.restart_shared(name)

    async def pause(self, symbol: str) -> Document:
        """See `Operations`."""
        return await self._set_paused(symbol, True)

    async def resume(self, symbol: str) -> Document:
        """See `Operations`."""
        return await self._set_paused(symbol, False)

    async def add(self, symbol: str) -> Document:
        """See `Operations`."""
        self._check_open()
        if symbol in self._daemon.manager.engines:
            raise AlreadySoError(f"{symbol} is traded already")
        self._daemon.registry.update(engine_name(symbol), desired=Desired.UP)
        await self._daemon.add_symbol(symbol)
        return {"message": f"{symbol} added; this {_UNTIL_RELOAD}"}

    async def remove(self, symbol: str, *, flatten: bool, keep: bool) -> Document:
        """See `Operations`."""
        self._engine(symbol)
        await settle_positions(self._daemon, [symbol], flatten=flatten, keep=keep)
        await self._daemon.remove_symbol(symbol)
        kept = what_stays(self._holdings(), [symbol])
        return {"message": f"{symbol} removed{kept}; this {_UNTIL_RELOAD}"}

    async def settle(self, symbol: str, price: Decimal | None, reason: str) -> Document:
        """See `Operations`."""
        self._check_open()
        told = f"settled by {CALLER.get()}: {reason}"
        report = await self._daemon.desk.orders.settle(symbol, price, told, _SETTLE_TIME)
        if report is None:
            raise RefusedError(
                f"the broker has not answered within {_SETTLE_TIME:g} s: nobody knows whether it was booked",
                f"see `levibotctl trades {symbol}` and `levibotctl logs broker` before you say it again",
            )
        if report.refused:
            remedy = "nothing was booked; `levibotctl risk` shows what is short"
            raise RefusedError(f"{symbol}: {report.refused}", remedy)
        self._daemon.log.warning("settled", symbol=symbol, booked=report.booked)
        after = "it is traded again as soon as the books agree with the exchange"
        return {"message": f"{symbol}: {report.booked}; {after}"}

    async def close(self, symbol: str, reason: str, *, pause: bool) -> Document:
        """See `Operations`."""
        self._check_open()
        worker = self._daemon.manager.engines.get(symbol)
        if pause and worker is not None and not worker.paused:
            await self._set_paused(symbol, True)
        message = await close_position(self._daemon, symbol, reason)
        if worker is None:
            return {"message": f"{symbol}: {message}"}
        after = "it is paused until `levibotctl resume`" if worker.paused else "its engine may enter it again"
        return {"message": f"{symbol}: {message}; {after}"}

    async def reset(self, symbol: str | None) -> Document:
        """See `Operations`."""
        self._check_open()
        workers = [self._engine(symbol)] if symbol else list(self._daemon.manager.workers.values())
        for worker in workers:
            worker.reset()
        return {"workers": [worker.name for worker in workers]}

    async def reload(self, *, flatten: bool = False, keep: bool = False) -> Document:
        """See `Operations`."""
        self._check_open()
        return await apply_reload(self._daemon, flatten=flatten, keep=keep)

    async def upgrade(self) -> Document:
        """See `Operations`."""
        self._check_open()
        self._daemon.request_stop("upgrade", again=True)
        return {"ok": True, "message": "the daemon restarts; positions are kept"}

    async def shutdown(self) -> Document:
        """See `Operations`."""
        self._check_open()
        self._daemon.request_stop("operator")
        return {
            "ok": True,
            "positions": self._daemon.positions(),
            "holdings": self._holdings(),
            "holdings_known": self._holdings_known,
        }

    async def kill(self, on: bool, reason: str, *, flatten: bool) -> Document:
        """See `Operations`."""
        stops, who = self._daemon.risk.stops, str(CALLER.get())
        if flatten and not on:
            raise RefusedError(
                "flatten goes with switching on", "leave it out: off ends a flattening that goes on"
            )
        if on:
            stops.engage_kill_switch(reason, who, flatten=flatten)
        else:
            stops.release_kill_switch(reason, who)
        self._daemon.log.warning("kill_switch", on=on, flatten=flatten, reason=reason, who=who)
        await self._daemon.desk.orders.settled(_CONFIRM_TIME)
        return await self.live_status()

    async def live_status(self) -> Document:
        """See `Operations`."""
        risk, orders = self._daemon.risk, self._daemon.desk.orders
        latch, report = risk.stops.kill_switch, orders.kill_report
        return {
            "kill_switch": latch is not None,
            "reason": latch.reason if latch else "",
            "mode": self._daemon.config.mode,
            "active": risk.status.state == "ACTIVE",
            "state": risk.status.state,
            "held_back_by": risk.status.reason,
            "since_ms": round(latch.since.timestamp() * 1000) if latch else None,
            "who": latch.who if latch else "",
            "confirmed": orders.confirmed,
            "entries_left": orders.entries_left,
            "flatten": {
                "done": latch.halted,
                "left": report.left if report else None,
                "dust": report.dust if report else None,
            }
            if latch is not None and latch.flatten
            else None,
            "holdings": self._holdings(),
            "holdings_known": self._holdings_known,
        }

    async def risk_summary(self) -> Document:
        """See `Operations`."""
        return self._daemon.risk.summary(boot_ns())

    async def equity(self, days: int) -> Document:
        """See `Operations`."""
        return await self._daemon.equity.document(days)

    async def reset_day(self, reason: str) -> Document:
        """See `Operations`."""
        self._check_open()
        stopped = DAILY_STOP in self._daemon.risk.memory.latches
        self._daemon.risk.reset_day(reason, str(CALLER.get()), boot_ns())
        self._daemon.log.warning("day_reset", reason=reason)
        state, reason = self._daemon.risk.status.state, self._daemon.risk.status.reason
        held = f"; risk still holds back: {reason}" if state != "ACTIVE" else ""
        done = "the daily stop is cleared" if stopped else "there was no daily stop to clear"
        effect = "the day's loss counts from the equity of now, and locks of symbols for it are gone"
        return {"message": f"{done}; {effect}{held}"}

    def record(self, caller: Caller, entry: Mapping[str, Any]) -> None:
        """See `Operations`."""
        self._daemon.audit.record(caller, entry)

    async def audit(self, count: int) -> Document:
        """See `Operations`."""
        trail, models = self._daemon.audit, self._daemon.config.models_dir
        return {"entries": trail.newest(models, count), "unwritten": trail.unwritten, "lost": trail.lost}

    async def health(self) -> Document:
        """See `Operations`."""
        wrong = self._daemon.lookout.ailments()
        return {"ok": not wrong, "wrong": wrong}

    async def altdata(self) -> Document:
        """See `Operations`."""
        return describe_altdata(self._daemon.manager.altdata_report)

    async def alerts(self) -> list[Document]:
        """See `Operations`."""
        return [alert.document() for alert in self._daemon.alerts.recent()]

    async def test_alerts(self) -> Document:
        """See `Operations`."""
        self._check_open()
        alerts = self._daemon.alerts
        if not alerts.channels:
            remedy = "set alerts.targets_file or alerts.hook, and restart"
            raise RefusedError("alerts are sent nowhere", remedy)
        return {"notice": alerts.test()}

    async def test_outcome(self, notice: str) -> Document:
        """See `Operations`."""
        outcomes = await self._daemon.alerts.outcomes(notice)
        done = bool(outcomes) and all(state != "waiting" for state, _ in outcomes)
        return {"done": done, "channels": [{"state": state, "detail": detail} for state, detail in outcomes]}

    async def metrics(self, accept: str) -> tuple[bytes, str]:
        """See `Operations`."""
        return await self._collector.scrape(accept)

    # ------------------------------------------------------------------ parts

    def _holdings(self) -> list[Document]:
        return describe_holdings(self._daemon.risk.portfolio, self._daemon.lookout.trading)

    @property
    def _holdings_known(self) -> bool:
        """Whether the broker has told its account since the supervisor started."""
        return self._daemon.risk.portfolio.seq is not None

    def _check_open(self) -> None:
        if self._daemon.stopping:
            raise ShuttingDownError("the daemon is shutting down", "start it again with `levibotctl start`")

    def _engine(self, symbol: str) -> Worker:
        self._check_open()
        return self._daemon.manager.engines[symbol]

    def _desire(self, worker: Worker, desired: Desired) -> None:
        registry = self._daemon.registry
        registry.update(worker.name, desired=desired)
        registry.save()

    def _outcome(self, worker: Worker) -> Document:
        if worker.observed is Observed.STOPPED and worker.detail:
            raise RefusedError(f"{worker.symbol} was not started", worker.detail)
        return {}

    async def _set_paused(self, symbol: str, paused: bool) -> Document:
        worker = self._engine(symbol)
        if worker.paused == paused:
            raise AlreadySoError(f"{symbol} is paused already" if paused else f"{symbol} is not paused")
        registry = self._daemon.registry
        registry.update(engine_name(symbol), paused=paused)
        registry.save()
        acknowledged = await _settled(lambda: worker.set_paused(paused))
        return {} if acknowledged else {"message": "the engine does not run; it will be so when it starts"}


async def _settled(command: Callable[[], Awaitable[Acknowledged]]) -> bool:
    """Whether a command was acknowledged within a short time."""
    try:
        return (await asyncio.wait_for(command(), _ACKNOWLEDGE_TIME)).ok
    except (TimeoutError, asyncio.CancelledError):
        return False
