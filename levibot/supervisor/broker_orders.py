"""What the supervisor orders the broker to do: open nothing, cancel entries, close positions."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from levibot.bus.messages import (
    FlattenPositions,
    FlattenReport,
    Message,
    NotReady,
    RiskState,
    SettlePosition,
    SettleReport,
    SetTradingState,
    TradingStateReport,
)
from levibot.clock import boot_ns
from levibot.observability.logging import Logger
from levibot.risk.stops import Stops

_AGAIN_NS = 500_000_000
_REMIND_NS = 5_000_000_000  # of what is confirmed: a broker that opened its books anew has forgotten it
_POLL = 0.02
_ALL = 0  # key of the closing that the kill switch wants


@dataclass
class Closing:
    """Positions that the broker is told to close, again and again until it says that nothing is left.

    Attributes
    ----------
    symbols
        Empty: all.
    reason
        Kept in the broker's log.
    report
        What the broker said last; None: nothing yet.
    """

    symbols: list[str]
    reason: str
    report: FlattenReport | None = None
    request_id: int = 0
    asked_ns: int = 0

    @property
    def done(self) -> bool:
        """Whether nothing but dust is left."""
        return self.report is not None and not self.report.left


class BrokerOrders:
    """Tells each broker the trading state, and what to close; asks again until it is so.

    What it must remember over a restart is in the kill switch; it has no state of its own that would be missed.

    Parameters
    ----------
    stops
        Trading state and kill switch.
    send
        To the broker; what is lost is sent again.
    log
        Of the supervisor.
    """

    def __init__(self, stops: Stops, send: Callable[[Message], None], log: Logger) -> None:
        self._stops = stops
        self._send = send
        self._log = log
        self._numbers = itertools.count(1)
        self._told: tuple[RiskState, str] | None = None
        self._request_id = 0
        self._asked_ns = 0
        self._entries_left: list[str] | None = None
        self._closings: dict[int, Closing] = {}
        self._settlements: dict[int, asyncio.Future[SettleReport]] = {}
        self.kill_report: FlattenReport | None = None  # newest word on what the kill switch wants closed

    @property
    def entries_left(self) -> list[str] | None:
        """Client ids of entries that are not cancelled yet; None: the broker has not answered yet."""
        return self._entries_left

    @property
    def confirmed(self) -> bool:
        """Whether the broker is in the state of now, and no entry is left if none may be there."""
        return self._told == self._wanted() and (
            self._entries_left == [] or (self._entries_left is not None and self._stops.status.state == "ACTIVE")
        )

    @property
    def kill_left(self) -> dict[str, str] | None:
        """What the kill switch wants closed and is still open, with what hinders; None: nothing."""
        if _ALL not in self._closings:
            return None
        return self.kill_report.left if self.kill_report is not None else {}

    def broker_started(self) -> None:
        """A new broker has been told nothing yet."""
        self._told, self._entries_left = None, None
        for closing in self._closings.values():
            closing.report, closing.asked_ns = None, 0
        self.turn()

    def turn(self) -> None:
        """Say what is due."""
        now = boot_ns()
        pause_ns = _REMIND_NS if self.confirmed else _AGAIN_NS
        if self._told != self._wanted() or now - self._asked_ns >= pause_ns:
            self._tell(now)
        self._follow_kill_switch()
        for closing in self._closings.values():
            if now - closing.asked_ns >= _AGAIN_NS:
                closing.asked_ns, closing.request_id = now, next(self._numbers)
                self._send(FlattenPositions(closing.request_id, closing.symbols, closing.reason))

    def on_trading_state(self, report: TradingStateReport) -> None:
        """The broker's word on the state that it was told last."""
        if report.request_id == self._request_id:
            if report.entries_left and self._stops.status.state != "ACTIVE":
                self._log.info("entries_left", state=report.state, entries=report.entries_left)
            self._entries_left = report.entries_left

    def on_flatten(self, report: FlattenReport) -> None:
        """What is left of what is to be closed."""
        for closing in self._closings.values():
            if closing.request_id == report.request_id:
                if closing.report != report:
                    self._log.warning("flatten_progress", left=report.left, dust=report.dust)
                closing.report = report
        kill = self._closings.get(_ALL)
        if kill is not None:
            self.kill_report = kill.report
        if kill is not None and kill.done:
            self._log.warning("flattened", dust=report.dust)
            del self._closings[_ALL]
            self._stops.halt_after_flatten()

    async def settled(self, seconds: float) -> bool:
        """Wait until the broker has confirmed the state; False if it has not within this time."""
        self.turn()
        end = boot_ns() + seconds * 1e9
        while not self.confirmed and boot_ns() < end:
            await asyncio.sleep(_POLL)
        return self.confirmed

    async def close(self, symbols: list[str], reason: str, seconds: float) -> FlattenReport | None:
        """Close the positions of `symbols`; what the broker said last, None if it said nothing.

        It is given up after `seconds`, and the broker told so by silence: what protects a position that is left
        has stayed where it was.
        """
        key = next(self._numbers)
        closing = self._closings[key] = Closing(symbols, reason)
        self.turn()
        try:
            end = boot_ns() + seconds * 1e9
            while not closing.done and boot_ns() < end:
                await asyncio.sleep(_POLL)
        finally:
            self._closings.pop(key, None)
        return closing.report

    async def settle(self, symbol: str, price: Decimal | None, reason: str, seconds: float) -> SettleReport | None:
        """Have what the exchange has less than the books booked as sold by hand; None: no answer, in this time.

        It is said once: nobody can tell from outside whether a second telling would mean another shortage.
        """
        number = next(self._numbers)
        answer = self._settlements[number] = asyncio.get_running_loop().create_future()
        self._send(SettlePosition(number, symbol, price, reason))
        try:
            return await asyncio.wait_for(answer, seconds)
        except TimeoutError:
            return None
        finally:
            del self._settlements[number]

    def on_settled(self, report: SettleReport) -> None:
        """What became of what was to be booked by hand."""
        answer = self._settlements.get(report.request_id)
        if answer is not None and not answer.done():
            answer.set_result(report)

    def on_not_ready(self, reply: NotReady) -> None:
        """The broker cannot do anything now."""
        self.on_settled(SettleReport(reply.request_id, f"the broker is not ready: {reply.reason}"))

    def _wanted(self) -> tuple[RiskState, str]:
        return self._stops.status.state, self._stops.status.reason

    def _tell(self, now_ns: int) -> None:
        if self._told is None or self._told[0] != self._stops.status.state:
            self._entries_left = None
        self._told, self._asked_ns, self._request_id = self._wanted(), now_ns, next(self._numbers)
        self._send(SetTradingState(self._request_id, *self._told))

    def _follow_kill_switch(self) -> None:
        latch = self._stops.kill_switch
        if latch is None or not latch.flatten or latch.halted:
            self._closings.pop(_ALL, None)
        elif _ALL not in self._closings:
            self.kill_report = None
            self._closings[_ALL] = Closing([], latch.reason)
