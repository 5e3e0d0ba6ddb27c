"""Compares the whole account with the exchange, at the start and again and again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping

from levibot.bus.messages import LiveTradingReport
from levibot.clock import boot_ns
from levibot.errors import DataStoreError, LeviBotError
from levibot.execution.live.account import Account
from levibot.execution.live.desk import SymbolDesk
from levibot.execution.live.funds import Funds
from levibot.execution.live.reconcile import Reconciliation
from levibot.execution.live.tracking import IN_DOUBT
from levibot.execution.position import ZERO, base_of

_NS = 1_000_000_000
_AGAIN_S = 1.0  # after the exchange could not be asked
_PATIENCE_NS = 20 * _NS  # for a desk that is busy: the account is compared without it
_LOOK_S = 0.2


class Reconciler:
    """Runs `Reconciliation` for each symbol, and `Funds` for all, and says who is not ready or frozen.

    A symbol that cannot be compared, or whose desk is busy, holds up no other; of its assets nothing new is
    believed meanwhile.

    Parameters
    ----------
    account
        Books, exchange and settings.
    desks
        Those that there are now.
    """

    def __init__(self, account: Account, desks: Callable[[], Iterable[SymbolDesk]]) -> None:
        self._account = account
        self._books = account.journal.books
        self._desks = desks
        self._states: dict[str, Reconciliation] = {}
        self._running: dict[str, asyncio.Task[bool]] = {}
        self._ready: set[str] = set()
        self._troubles: dict[str, str] = {}
        self._trouble = ""
        self._told_frozen: set[str] = set()
        self._task: asyncio.Task[None] | None = None
        self._done_ns: int | None = None
        self.rounds = 0  # whole comparisons
        self._wake = asyncio.Event()
        self.funds = Funds(
            account.journal, account.trading, account.config.capital, self._settle, account.tell_trouble
        )

    def start(self) -> None:
        """Begin to compare."""
        self._task = asyncio.create_task(self._run(), name="reconciliation")

    async def close(self) -> None:
        """End it."""
        tasks = [task for task in (self._task, *self._running.values()) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def hurry(self) -> None:
        """Compare as soon as possible: there is a new desk."""
        self._wake.set()

    # ------------------------------------------------------------------ what is so

    def unready(self, symbol: str) -> str:
        """Why nothing can be said of a symbol yet; empty: it agrees with the exchange."""
        if symbol in self._ready and self._done_ns is not None:
            return ""
        why = self._trouble_of(symbol) or self._trouble
        return f"comparing with the exchange: {why}" if why else "comparing with the exchange"

    def account_unready(self) -> str:
        """Why nothing can be said of the account yet: a symbol with something at stake is not compared."""
        missing = self._missing()
        if self._done_ns is None or missing:
            return self.unready(missing[0] if missing else "")
        return ""

    def _missing(self) -> list[str]:
        at_stake = {symbol for symbol, position in self._books.positions.items() if position.quantity}
        at_stake |= {symbol for symbol, orders in self._books.resting.items() if orders}
        there = {desk.symbol for desk in self._desks()}  # of a market that is gone for good nobody can ask
        return sorted(at_stake & there - self._ready)

    def frozen(self, desk: SymbolDesk) -> str:
        """Why nothing may be opened in a symbol although it is compared; empty: it may."""
        reasons = [
            *desk.doubts.reasons(),
            *desk.anomalies.values(),
            desk.protection.trouble(),
            self.funds.reason(desk.symbol),
        ]
        return next(filter(None, reasons), "")

    def report(self) -> LiveTradingReport:
        """What operators should see."""
        desks = list(self._desks())
        frozen = {desk.symbol: reason for desk in desks if (reason := self.frozen(desk))}
        self._tell_frozen(frozen)
        unknown = sum(order.state in IN_DOUBT for desk in desks for order in desk.orders)
        return LiveTradingReport(
            frozen=frozen,
            unknown_orders=unknown,
            foreign_orders=sum(state.foreign_orders for state in self._states.values()),
            reconciled_s=None if self._done_ns is None else (boot_ns() - self._done_ns) / _NS,
            drift={asset: self.funds.describe(asset) for asset in self.funds.shortages},
            trouble=self._trouble or next(iter(self._troubles.values()), ""),
            missing={desk.symbol: float(desk.missing) for desk in desks if desk.missing},
        )

    def _tell_frozen(self, frozen: dict[str, str]) -> None:
        """Tell what is frozen now, or no more: once, though the reason's words may change meanwhile."""
        for symbol in sorted(frozen.keys() - self._told_frozen):
            self._account.tell_trouble(f"{symbol}: FROZEN, nothing is opened in it: {frozen[symbol]}")
        for symbol in sorted(self._told_frozen - frozen.keys()):
            self._account.tell_trouble(f"{symbol}: frozen no more")
        self._told_frozen = set(frozen)

    async def compare_in_job(self, desk: SymbolDesk) -> None:
        """Compare one symbol that was compared before, from within a job of its desk.

        Raises
        ------
        RetryError, BackOffError, ExchangeRefusedError
            The exchange could not be asked.
        """
        await self._states[desk.symbol].run()

    # ------------------------------------------------------------------ comparing

    async def _run(self) -> None:
        while True:
            pause_s = self._account.config.reconcile_interval
            self._wake.clear()  # before the desks are listed: one that is opened meanwhile is not forgotten
            try:
                await self.once()
                self._trouble = ""
            except DataStoreError as error:
                self._account.broken(error)
                return
            except LeviBotError as error:
                self._trouble, pause_s = str(error), _AGAIN_S
                self._account.tell_trouble(f"comparing with the exchange: {error}")
            except Exception as error:  # noqa: BLE001 -- it is told, and tried again
                self._trouble, pause_s = f"{type(error).__name__}: {error}", _AGAIN_S
                self._account.tell_trouble(f"comparing with the exchange: {self._trouble}")
            if self._troubles:
                pause_s = min(pause_s, _AGAIN_S)
            try:
                async with asyncio.timeout(pause_s):  # unlike `wait_for`, it loses no cancellation to a wake
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def once(self) -> None:
        """Compare everything once.

        Raises
        ------
        RetryError, BackOffError, ExchangeRefusedError
            The balances could not be read. What concerns one symbol is kept as its trouble.
        """
        await self.funds.open()
        desks = {desk.symbol: desk for desk in self._desks()}
        settled = await self._settle(set(desks))
        await self.funds.check(set(desks), settled)
        for desk in desks.values():
            base = base_of(desk.symbol)
            desk.missing = min(self.funds.shortages.get(base, ZERO), desk.position.quantity)
            desk.foreign = self.funds.foreign.get(base, ZERO)
        if self._books.restored_ms and settled == set(desks) and not self._missing():
            await self._account.journal.write(self._books.settle_restore)
        self._done_ns = boot_ns()
        self.rounds += 1
        for symbol in settled:
            desk = desks[symbol]
            desk.do(desk.protection.review)

    async def _settle(self, symbols: set[str]) -> set[str]:
        """Bring the books of symbols up to the exchange's truth; those for which that has worked."""
        desks = {desk.symbol: desk for desk in self._desks() if desk.symbol in symbols}
        for symbol, desk in desks.items():
            if symbol not in self._running:
                self._running[symbol] = asyncio.create_task(self._compare(desk), name=f"reconciliation {symbol}")
        tasks = {symbol: self._running[symbol] for symbol in desks}
        until_ns = boot_ns() + _PATIENCE_NS
        while boot_ns() < until_ns and self._is_worth_waiting(tasks):
            await asyncio.wait([task for task in tasks.values() if not task.done()], timeout=_LOOK_S)
        settled = {symbol for symbol, task in tasks.items() if task.done() and task.result()}
        return {symbol for symbol in settled if not any(order.state in IN_DOUBT for order in desks[symbol].orders)}

    def _is_worth_waiting(self, tasks: Mapping[str, asyncio.Task[bool]]) -> bool:
        """Whether one is under way of which it is not known that it fails again and again."""
        return any(not task.done() and not self._trouble_of(symbol) for symbol, task in tasks.items())

    def _trouble_of(self, symbol: str) -> str:
        state = self._states.get(symbol)
        return (state.trouble if state else "") or self._troubles.get(symbol, "")

    async def _compare(self, desk: SymbolDesk) -> bool:
        symbol = desk.symbol
        state = self._states.setdefault(symbol, Reconciliation(desk))
        try:
            await desk.done(state.run if symbol in self._ready else state.begin, urgent=True)
        except DataStoreError:
            return False  # told by the desk
        except LeviBotError as error:
            self._fail(symbol, str(error))
            return False
        except Exception as error:  # noqa: BLE001 -- one symbol's failure stops no other
            self._fail(symbol, f"{type(error).__name__}: {error}")
            return False
        finally:
            self._running.pop(symbol, None)
        self._ready.add(symbol)
        self._troubles.pop(symbol, None)
        return True

    def _fail(self, symbol: str, why: str) -> None:
        self._troubles[symbol] = why
        self._account.tell_trouble(f"comparing {symbol} with the exchange: {why}")
