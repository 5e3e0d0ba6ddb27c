"""Locks after losses, as users of freqtrade know them: nothing is opened for a while. Event time throughout."""

from __future__ import annotations

from collections import deque
from decimal import Decimal
from typing import Literal

from pydantic import Field

from levibot.config_base import Section
from levibot.config_risk import ProtectionsConfig
from levibot.execution.position import ZERO
from levibot.risk.trips import ClosedTrade

ALL = "*"
Rule = Literal["cooldown", "stop_guard", "max_drawdown", "low_profit", "symbol_daily_loss"]
_MINUTE_MS = 60_000


class Lock(Section):
    """Nothing is opened in `symbol`, or in any if that is ``*``, before `until_ms`."""

    symbol: str
    rule: Rule
    reason: str
    until_ms: int


class ProtectionsState(Section):
    """What must be remembered over a restart."""

    locks: list[Lock] = Field(default_factory=list)
    trades: list[ClosedTrade] = Field(default_factory=list)  # of the longest lookback
    # Minute and equity, each higher than all that came after it.
    peaks: list[tuple[int, Decimal]] = Field(default_factory=list)


class Protections:
    """Judges trades as they close, and the equity as it falls.

    * Cooldown: a symbol that was stopped out opens nothing for some minutes.
    * Stop guard: so many trades stopped out at a loss within the lookback lock all symbols.
    * Low profit: so many trades of a symbol whose returns come to less than the least lock the symbol.
    * Max drawdown: the equity is so far below its highest of the lookback that all symbols are locked; it is
      measured anew from there.

    A rule is judged when something happens, so a lock that has run out returns only with a new loss.

    Parameters
    ----------
    config
        Limits and times.
    state
        Of the life before.
    """

    def __init__(self, config: ProtectionsConfig, state: ProtectionsState) -> None:
        self.config = config
        self._locks = list(state.locks)
        self._trades = deque(state.trades)
        self._peaks = deque(state.peaks)

    @property
    def state(self) -> ProtectionsState:
        """For the next life."""
        return ProtectionsState(locks=list(self._locks), trades=list(self._trades), peaks=list(self._peaks))

    def standing(self, event_ms: int | None) -> list[Lock]:
        """Locks that hold at this time; all, if the time is not known."""
        return [lock for lock in self._locks if event_ms is None or event_ms < lock.until_ms]

    def lock_of(self, symbol: str, event_ms: int | None) -> Lock | None:
        """The lock that keeps `symbol` longest; None: it may be opened."""
        holding = [lock for lock in self.standing(event_ms) if lock.symbol in (symbol, ALL)]
        return max(holding, key=lambda lock: lock.until_ms, default=None)

    def lock(self, symbol: str, rule: Rule, reason: str, until_ms: int, event_ms: int) -> bool:
        """Begin a lock; False if the same rule has locked the symbol as long already."""
        self._locks = self.standing(event_ms)
        same = [lock for lock in self._locks if (lock.symbol, lock.rule) == (symbol, rule)]
        if any(lock.until_ms >= until_ms for lock in same):
            return False
        self._locks = [lock for lock in self._locks if lock not in same]
        self._locks.append(Lock(symbol=symbol, rule=rule, reason=reason, until_ms=until_ms))
        return True

    def unlock(self, rule: Rule) -> None:
        """End all locks of a rule."""
        self._locks = [lock for lock in self._locks if lock.rule != rule]

    # ------------------------------------------------------------------ trades

    def on_closed(self, trade: ClosedTrade) -> bool:
        """Judge a trade that has just closed; True if something was locked."""
        self._trades.append(trade)
        lookback = max(self.config.stop_guard_lookback_minutes, self.config.low_profit_lookback_minutes)
        while self._trades and self._trades[0].event_ms < trade.event_ms - lookback * _MINUTE_MS:
            self._trades.popleft()
        return any([self._cool_down(trade), self._guard_stops(trade), self._judge_profit(trade)])

    def _cool_down(self, trade: ClosedTrade) -> bool:
        minutes = self.config.cooldown_minutes
        if not (trade.stopped and minutes):
            return False
        until_ms = trade.event_ms + round(minutes * _MINUTE_MS)
        return self.lock(trade.symbol, "cooldown", f"{trade.symbol} was stopped out", until_ms, trade.event_ms)

    def _guard_stops(self, trade: ClosedTrade) -> bool:
        config = self.config
        stops = [
            past
            for past in self._within(trade.event_ms, config.stop_guard_lookback_minutes)
            if past.stopped and past.profit < 0
        ]
        if not config.stop_guard_count or not trade.stopped or len(stops) < config.stop_guard_count:
            return False
        reason = f"{len(stops)} positions were stopped out in {config.stop_guard_lookback_minutes:g} minutes"
        until_ms = trade.event_ms + round(config.stop_guard_lock_minutes * _MINUTE_MS)
        return self.lock(ALL, "stop_guard", reason, until_ms, trade.event_ms)

    def _judge_profit(self, trade: ClosedTrade) -> bool:
        config = self.config
        trades = [
            past
            for past in self._within(trade.event_ms, config.low_profit_lookback_minutes)
            if past.symbol == trade.symbol
        ]
        gain = sum(past.gain for past in trades)
        if not config.low_profit_trades or len(trades) < config.low_profit_trades or gain >= config.low_profit:
            return False
        reason = f"{len(trades)} trades in {trade.symbol} came to {gain:.2%}"
        until_ms = trade.event_ms + round(config.low_profit_lock_minutes * _MINUTE_MS)
        return self.lock(trade.symbol, "low_profit", reason, until_ms, trade.event_ms)

    def _within(self, event_ms: int, minutes: float) -> list[ClosedTrade]:
        return [past for past in self._trades if past.event_ms >= event_ms - minutes * _MINUTE_MS]

    # ------------------------------------------------------------------ equity

    def on_equity(self, event_ms: int, equity: Decimal) -> bool:
        """Compare with the highest equity of the lookback; True if all symbols were locked."""
        if not self.config.max_drawdown:
            return False
        minute = event_ms // _MINUTE_MS
        while self._peaks and self._peaks[-1][1] <= equity:
            self._peaks.pop()
        if not self._peaks or self._peaks[-1][0] < minute:
            self._peaks.append((minute, equity))
        while self._peaks[0][0] < minute - self.config.drawdown_lookback_minutes:
            self._peaks.popleft()
        peak = self._peaks[0][1]
        if peak <= 0 or float(1 - equity / peak) < self.config.max_drawdown:
            return False
        self._peaks = deque([(minute, equity)])
        reason = f"equity {equity:.2f} is {equity / peak - 1:.2%} from its highest, {peak:.2f}"
        until_ms = event_ms + round(self.config.drawdown_lock_minutes * _MINUTE_MS)
        return self.lock(ALL, "max_drawdown", reason, until_ms, event_ms)

    def shift(self, amount: Decimal) -> None:
        """Money was paid in or out: no profit, and no drawdown."""
        if amount != ZERO:
            self._peaks = deque((minute, equity + amount) for minute, equity in self._peaks)
