"""Leave to open risk: given by one object for the whole portfolio, or refused with a named reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from decimal import Decimal
from math import inf
from pathlib import Path
from typing import Any

from levibot import clock
from levibot.bus.messages import (
    AccountSnapshot,
    Grant,
    MarketSpec,
    OrderEvent,
    RiskAnswer,
    RiskRefused,
    RiskRequest,
    Tick,
)
from levibot.config_risk import RiskConfig
from levibot.execution.grants import sign_grant
from levibot.execution.position import ZERO, signed
from levibot.execution.precision import floor_to
from levibot.risk.memory import DAY_MS, RiskMemory, Valuation
from levibot.risk.policy import RiskPolicy
from levibot.risk.portfolio import AccountBehindError, Portfolio
from levibot.risk.reservations import Reservations
from levibot.risk.stops import AUTOMATIC, Audit, RiskStatus, Stops

_STALE_MARK = "stale_mark"
_QUANTITY_STEP = Decimal("1e-12")
_PRICE_DIGITS = 18  # before the point; nothing is traded at more
_COST_RESERVE = Decimal("1.005")  # of an entry: fee and slippage come on top of its notional


def _unheard(_action: str, _who: str, _reason: str) -> None:
    """Nobody keeps an audit."""


class _RefusedError(Exception):
    """A request is refused; `name` is counted, `detail` explains it."""

    def __init__(self, name: str, detail: str) -> None:
        super().__init__(f"{name}: {detail}")
        self.name = name


class RiskManager:
    """Positions from the broker, prices from the feed, grants to the engines. It owns no socket.

    ACTIVE grants; REDUCING and HALTED refuse, so that positions can only shrink (see `Stops`). Neither
    closes a position by itself: exits and protective orders go on as they are.

    Parameters
    ----------
    config
        The limits.
    key
        Secret that signs grants.
    supervisor_epoch
        This start of the supervisor.
    path
        ``risk.json``. A damaged one is set aside, and the kill switch is then on: whether it was is lost.
    wall_ms
        Unix time in milliseconds, for stamps that people read.
    audit
        Told of each latch that is set or cleared: what, who, why.

    Raises
    ------
    NewerSchemaError
        If a later LeviBot wrote `path`.
    DataStoreError
        If it cannot be read.
    """

    def __init__(
        self,
        config: RiskConfig,
        key: bytes,
        supervisor_epoch: int,
        path: Path,
        wall_ms: Callable[[], int] = clock.wall_ms,
        audit: Audit = _unheard,
    ) -> None:
        self.policy = RiskPolicy.of(config)
        self.portfolio = Portfolio()
        self.granted = 0
        self.refusals: Counter[str] = Counter()  # by reason
        self.bad_ticks = 0
        self.memory = RiskMemory(path, wall_ms)
        self._key = key
        self._epoch = supervisor_epoch
        self.stops = Stops(self.memory, wall_ms, audit)
        self._reservations = Reservations()
        self._closed: dict[str, tuple[str, str]] = {}  # markets in which nothing can be opened: why
        self._following = False  # the broker's account is known, and no event of it is missing
        self._event_ms: int | None = None
        if self.memory.set_aside:
            damage = f"{path.name} was damaged, it is now {self.memory.set_aside.name}"
            self.stops.engage_kill_switch(damage, AUTOMATIC)

    @property
    def status(self) -> RiskStatus:
        """ACTIVE, REDUCING or HALTED, why, and since when."""
        return self.stops.status

    # ------------------------------------------------------------------ what happens

    def on_tick(self, tick: Tick, now_ns: int) -> None:
        """Take a price; the UTC day begins with the first tick of it, by event time."""
        if not (0 < tick.bid < inf and 0 < tick.ask < inf):
            self.bad_ticks += 1
            return
        if self._event_ms is None or tick.event_ms > self._event_ms:
            self._event_ms = tick.event_ms
            if self.memory.begin_day(tick.event_ms // DAY_MS):
                self.stops.resume_day("a new UTC day")
        self.portfolio.mark(tick)
        if tick.symbol in self.portfolio.positions:
            self._value(now_ns)

    def set_market(self, symbol: str, market: MarketSpec | None, stale: str) -> None:
        """Take the rules of a market (None: not known), and why it is stale; empty: it is not."""
        if market is not None and not market.active:
            detail = f"{symbol} is not open for trading: a position can only be closed"
            self._closed[symbol] = ("market_inactive", detail)
        elif stale:
            self._closed[symbol] = ("market_stale", f"{symbol}: {stale}")
        else:
            self._closed.pop(symbol, None)

    def on_account_snapshot(self, snapshot: AccountSnapshot, now_ns: int) -> None:
        """Take the whole account; from now on grants may be given."""
        self.portfolio.restore(snapshot)
        self._following = True
        self.refresh(now_ns)

    def on_order_events(self, events: Sequence[OrderEvent], now_ns: int) -> bool:
        """Follow the account.

        Returns
        -------
        bool
            False if events are missing: no grant is given until the supervisor has asked the broker for a
            snapshot (`AccountRequest` with `since` None).
        """
        for event in events:
            self._reservations.release(event)
            try:
                self.portfolio.apply(event)
            except AccountBehindError:
                self._following = False
                return False
        self._value(now_ns)
        return self._following

    def lost_broker(self) -> None:
        """The broker is gone: no grant until its next snapshot."""
        self._following = False

    def reset_day(self, reason: str, who: str, now_ns: int) -> None:
        """The operator's wish: clear the daily stop and count the day's loss from the equity of now."""
        self.memory.forget_day()
        self.stops.resume_day(reason, who)
        self._value(now_ns)

    def refresh(self, now_ns: int) -> RiskStatus:
        """Judge what time alone changes: ages of prices, lives of grants, a write that is due.

        Call it about once a second; a decision does it too.
        """
        self._reservations.expire(now_ns)
        unpriced = self.portfolio.unpriced(now_ns, self.policy.mark_max_age_ns)
        self.stops.set_condition(_STALE_MARK, bool(unpriced), f"no fresh price of {', '.join(unpriced)}")
        self._value(now_ns)
        self.memory.store_if_due(now_ns)
        return self.status

    # ------------------------------------------------------------------ what is asked

    def decide(self, request: RiskRequest, now_ns: int) -> RiskAnswer:
        """Grant or refuse an entry.

        A grant counts as exposure at once: until its order has ended, or until no order can come of it
        any more.
        """
        self.refresh(now_ns)
        try:
            price = self._price(request, now_ns)
            quantity = self._size(request, price, now_ns)
        except _RefusedError as refusal:
            self.refusals[refusal.name] += 1
            return RiskRefused(request.request_id, request.client_id, request.symbol, str(refusal))
        grant = Grant(
            request_id=request.request_id,
            client_id=request.client_id,
            symbol=request.symbol,
            side=request.side,
            max_quantity=quantity,
            supervisor_epoch=self._epoch,
            expires_ns=now_ns + self.policy.grant_life_ns,
        )
        self._reservations.hold(grant, price)
        self.granted += 1
        return sign_grant(self._key, grant)

    def has_seen(self, symbol: str, epoch: int, tick_seq: int) -> bool:
        """Whether the prices here are at least as new as those that an engine had seen."""
        return self.portfolio.has_seen(symbol, epoch, tick_seq)

    def summary(self, now_ns: int) -> dict[str, Any]:
        """State of risk for people and programs; fractions, amounts in the quote asset, None: unknown."""
        equity, day = self._equity(now_ns), self.memory.day_start
        start, start_book = (day.equity, day.book_value) if day else (None, None)
        book_value = self.portfolio.book_value if self._following else None
        return {
            "equity_now": _number(equity),
            "equity_start_day": _number(start),
            "realized_today_pct": _change(book_value, start_book, start),
            "today_pct": _change(equity, start, start),
            "positions_open": len(self.portfolio.positions),
            "global_stop": self.stops.latched,
            "kill_switch": self.stops.kill_switch is not None,
            "state": self.status.state,
            "reason": self.status.reason,
            "since_ms": self.status.since_ms,
            "grants_open": len(self._reservations),
            "policy": self.policy.summary(),
        }

    # ------------------------------------------------------------------ the decision

    def _price(self, request: RiskRequest, now_ns: int) -> Decimal:
        """Price at which the request is sized: the dearer of the engine's and ours."""
        if self.status.state != "ACTIVE":
            raise _RefusedError(self.status.state.lower(), self.status.reason)
        if not self._following:
            raise _RefusedError("account_unknown", "the broker has not told its account yet")
        if request.symbol in self._closed:
            raise _RefusedError(*self._closed[request.symbol])
        if request.client_id in self._reservations or self.portfolio.knows(request.client_id):
            raise _RefusedError("already_granted", f"order {request.client_id} has its grant")
        if request.price <= 0 or request.price.adjusted() > _PRICE_DIGITS:
            raise _RefusedError("bad_price", f"{request.price} is no price")
        mark = self.portfolio.price(request.symbol, now_ns, self.policy.mark_max_age_ns)
        if mark is None:
            raise _RefusedError("no_mark", f"no fresh price of {request.symbol}")
        return max(mark, request.price)

    def _size(self, request: RiskRequest, price: Decimal, now_ns: int) -> Decimal:
        symbol, portfolio = request.symbol, self.portfolio
        held = portfolio.positions[symbol].quantity if symbol in portfolio.positions else ZERO
        if held * signed(request.side, Decimal(1)) < 0:
            raise _RefusedError("opposite_position", f"{held} is open: close it before the other side is opened")
        open_symbols = {*portfolio.positions, *portfolio.opening_symbols, *self._reservations.symbols}
        if symbol not in open_symbols and len(open_symbols) >= self.policy.max_positions:
            raise _RefusedError("max_positions", f"{len(open_symbols)} are open or about to be")
        equity = self._equity(now_ns)
        if equity is None or equity <= 0:
            raise _RefusedError("no_equity", f"equity is {'unknown' if equity is None else equity}")
        exposure = abs(held) + portfolio.opening(symbol) + self._reservations.quantity(symbol)
        room = self.policy.position_cap * equity - exposure * price
        if room <= 0:
            raise _RefusedError("position_cap", f"{exposure} {symbol} is all that the cap allows")
        room = min(room, (portfolio.free_cash() - self._reservations.cost) / _COST_RESERVE)
        quantity = floor_to(room / price, _QUANTITY_STEP)
        if quantity <= 0:
            raise _RefusedError("no_cash", "the cash is spent, or promised to other orders")
        return quantity

    def _equity(self, now_ns: int) -> Decimal | None:
        return self.portfolio.equity(now_ns, self.policy.mark_max_age_ns) if self._following else None

    def _value(self, now_ns: int) -> None:
        """Note what the portfolio is worth, and stop the day if it lost too much."""
        equity = self._equity(now_ns)
        if equity is None or self._event_ms is None:
            return
        book_value = self.portfolio.book_value
        start = self.memory.value(Valuation(event_ms=self._event_ms, equity=equity, book_value=book_value)).equity
        if start > 0 and equity / start - 1 <= -self.policy.daily_loss:
            self.stops.stop_day(f"equity {equity:.2f} is {equity / start - 1:.2%} from the day's start")


def _number(value: Decimal | None) -> float | None:
    return None if value is None else float(value)


def _change(now: Decimal | None, start: Decimal | None, equity: Decimal | None) -> float | None:
    """Change since the day began, as a fraction of its starting equity."""
    if now is None or start is None or not equity:
        return None
    return float((now - start) / equity)
