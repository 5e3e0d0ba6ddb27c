"""Compares what the books hold with what the exchange has: of each asset, no more than its balance."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal

from levibot.bus.messages import FundsKind
from levibot.errors import BackOffError, ExchangeRefusedError, RetryError
from levibot.exchange.trading import Balance, Trading, Transfer
from levibot.execution.live.journal import Journal, Tell
from levibot.execution.position import ZERO, base_of, quote_of
from levibot.execution.precision import plain

_TOLERANCE = Decimal("0.0000001")  # what an exchange rounds away
_PAUSES_S = (0.3, 1.0)  # before a shortage is looked at a second and a third time
_READINGS = 5  # of the balances at most, until nothing was booked meanwhile
_OVERLAP_MS = 86_400_000  # a transfer may be listed long after its time
_TRANSFERS_MS = 600_000  # they are read no seldomer
Amounts = dict[str, Decimal]


def assets_of(symbol: str) -> set[str]:
    """Assets that orders of a symbol move."""
    return {base_of(symbol), quote_of(symbol)}


class Funds:
    """Finds shortages, explains them by transfers, and says which symbols share what remains unexplained.

    An excess is foreign: the account may hold more than LeviBot's. A shortage is believed only if three readings
    show the same one, with all orders looked at in between: an order may fill between two questions.

    Parameters
    ----------
    journal, trading
        The books, and who is asked.
    capital
        Most of the quote asset that is counted as LeviBot's; None: all of it.
    settle
        Brings the books up to the exchange's truth for these symbols; those for which that has worked.
    tell_trouble
        Told what could not be asked.
    """

    def __init__(
        self,
        journal: Journal,
        trading: Trading,
        capital: Decimal | None,
        settle: Callable[[set[str]], Awaitable[set[str]]],
        tell_trouble: Tell,
    ) -> None:
        self._journal = journal
        self._books = journal.books
        self._trading = trading
        self._capital = capital
        self._settle = settle
        self._tell = tell_trouble
        self.shortages: Amounts = {}
        self.foreign: Amounts = {}  # what the exchange has more than the books, by two comparisons in a row
        self._excess: Amounts | None = None  # by the last one

    def reason(self, symbol: str) -> str:
        """Why nothing may be opened in a symbol; empty: the funds are there."""
        for asset in sorted(assets_of(symbol).intersection(self.shortages)):
            return self.describe(asset)
        return ""

    def describe(self, asset: str) -> str:
        """A shortage, for people."""
        held = self._held()[asset]
        there = plain(held - self.shortages[asset])
        return (
            f"{asset} is short: the books hold {plain(held)}, the exchange has {there}, and no transfer tells why"
        )

    async def differences(self) -> Amounts:
        """What the exchange has more than the books, by asset; nothing was booked while it was read.

        Raises
        ------
        RetryError, BackOffError, ExchangeRefusedError
            The balances could not be read.
        """
        for _ in range(_READINGS):
            seq = self._books.seq
            balances: Mapping[str, Balance] = await self._trading.balances()
            if self._books.seq == seq:
                break
        nothing = Balance(ZERO, ZERO)
        return {asset: balances.get(asset, nothing).total - held for asset, held in self._held().items()}

    async def open(self) -> None:
        """Count the quote asset as LeviBot's, once in the life of the account.

        Raises
        ------
        RetryError, BackOffError, ExchangeRefusedError
            The balances could not be read.
        """
        if self._books.read_until("account") is not None:
            return
        now_ms, quote = self._trading.exchange_ms(), self._books.quote
        before = await self._transfers(now_ms - _OVERLAP_MS)  # by their names, for their times are not exact
        balance = (await self._trading.balances()).get(quote, Balance(ZERO, ZERO))
        amount = balance.free if self._capital is None else min(balance.free, self._capital)

        def begin() -> None:
            self._books.note_read("account", now_ms)
            for transfer in before:
                self._books.note_transfer(transfer.reference)
            self._books.note_read("transfers", now_ms)
            self._books.move_funds(quote, amount, "opening", f"{plain(balance.total)} {quote} at the first start")

        await self._journal.write(begin)

    async def check(self, symbols: set[str], settled: set[str]) -> None:
        """Compare; `shortages` and `foreign` hold what is believed afterwards.

        Parameters
        ----------
        symbols
            All that are traded or held.
        settled
            Those whose books agree with the exchange's orders: of the others' assets nothing new is believed.

        Raises
        ------
        RetryError, BackOffError, ExchangeRefusedError
            The balances could not be read.
        """
        differences = await self.differences()
        if self._is_odd(differences) or self._transfers_are_due():
            await self._book_transfers(differences)
            differences = await self.differences()
        self._note_excess(differences)
        found = _shortages(differences)
        for pause_s in _PAUSES_S:
            if not found:
                break
            await asyncio.sleep(pause_s)
            sharing = {symbol for symbol in symbols if assets_of(symbol).intersection(found)}
            settled = (settled - sharing) | await self._settle(sharing)
            again = _shortages(await self.differences())
            found = {asset: short for asset, short in found.items() if again.get(asset) == short}
        uncertain: set[str] = set()
        for symbol in symbols - settled:
            uncertain |= assets_of(symbol)
        kept = {asset: short for asset, short in self.shortages.items() if asset in uncertain}
        self.shortages = kept | {asset: short for asset, short in found.items() if asset not in uncertain}

    def _note_excess(self, differences: Amounts) -> None:
        """A single comparison may meet an order that has filled and is not counted yet: two have to agree."""
        now = {asset: difference for asset, difference in differences.items() if difference > 0}
        before = now if self._excess is None else self._excess
        self.foreign = {asset: min(excess, before.get(asset, ZERO)) for asset, excess in now.items()}
        self._excess = now

    def _held(self) -> Amounts:
        held: defaultdict[str, Decimal] = defaultdict(Decimal, self._books.balances)
        held[self._books.quote] += self._books.cash
        for symbol, position in self._books.positions.items():
            held[base_of(symbol)] += position.quantity
        return held

    def _is_odd(self, differences: Amounts) -> bool:
        excess = self._capital is None and differences.get(self._books.quote, ZERO) > _TOLERANCE
        return excess or bool(_shortages(differences))

    # ------------------------------------------------------------------ transfers

    def _transfers_are_due(self) -> bool:
        return self._trading.exchange_ms() - (self._books.read_until("transfers") or 0) > _TRANSFERS_MS

    async def _book_transfers(self, differences: Amounts) -> None:
        """Book as much of each new transfer as the difference that it can explain; the rest was never ours."""
        now_ms = self._trading.exchange_ms()
        try:
            listed = await self._transfers((self._books.read_until("transfers") or 0) - _OVERLAP_MS)
        except (RetryError, BackOffError) as error:
            self._tell(f"deposits and withdrawals cannot be read: {error}")
            return
        transfers = [transfer for transfer in listed if not self._books.has_transfer(transfer.reference)]
        moved: defaultdict[str, Decimal] = defaultdict(Decimal)
        for transfer in transfers:
            if self._counts(transfer):
                moved[transfer.asset] += transfer.amount
        left = dict(differences)
        for transfer in transfers:
            asset, whole = transfer.asset, moved[transfer.asset]
            exact = self._counts(transfer) and abs(whole - differences.get(asset, ZERO)) <= _TOLERANCE
            await self._book(transfer, left, exact=exact)
        await self._journal.write(lambda: self._books.note_read("transfers", now_ms))

    async def _transfers(self, since_ms: int) -> list[Transfer]:
        try:
            return await self._trading.transfers(max(since_ms, 0))
        except ExchangeRefusedError as error:
            self._tell(f"deposits and withdrawals cannot be read: {error}")
            return []

    def _counts(self, transfer: Transfer) -> bool:
        """Whether a transfer can be LeviBot's at all: where a capital is set, what comes is somebody else's."""
        return transfer.amount < 0 or (transfer.asset == self._books.quote and self._capital is None)

    async def _book(self, transfer: Transfer, left: Amounts, *, exact: bool) -> None:
        asset, amount, difference = transfer.asset, transfer.amount, left.get(transfer.asset, ZERO)
        if exact:
            ours = amount
        elif not self._counts(transfer):
            ours = ZERO
        elif amount < 0:
            ours = max(amount, min(difference, ZERO))
        else:
            ours = min(amount, max(difference, ZERO))
        kind: FundsKind = "withdrawal" if amount < 0 else "deposit"
        if ours:
            left[asset] = difference - ours
            await self._journal.write_all(
                [(transfer.event_ms, lambda: self._books.move_funds(asset, ours, kind, transfer.reference))]
            )
        else:
            await self._journal.write(lambda: self._books.note_transfer(transfer.reference))


def _shortages(differences: Amounts) -> Amounts:
    return {asset: -difference for asset, difference in differences.items() if difference < -_TOLERANCE}
