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
    Bar,
    Grant,
    MarketSpec,
    OrderEvent,
    OrderSubmitted,
    RiskAnswer,
    RiskRefused,
    RiskRequest,
    Tick,
)
from levibot.config_risk import RiskConfig
from levibot.execution.grants import sign_grant
from levibot.execution.position import ZERO, signed
from levibot.risk.correlation import Correlations
from levibot.risk.day import DAY_MS, DayStart, Valuation, moved, shift_of
from levibot.risk.exposure import Exposures
from levibot.risk.limits import Limits, entry_price
from levibot.risk.memory import RiskMemory
from levibot.risk.policy import RiskPolicy
from levibot.risk.portfolio import AccountBehindError, Portfolio
from levibot.risk.protections import Protections
from levibot.risk.refusal import RefusedError
from levibot.risk.reservations import Reservations
from levibot.risk.sizing import position_size, round_trip_costs
from levibot.risk.stops import AUTOMATIC, Audit, RiskStatus, Stops
from levibot.risk.summary import risk_summary
from levibot.risk.trips import ClosedTrade, Trips

_STALE_MARK = "stale_mark"
_MINUTE_MS = 60_000


def _unheard(_action: str, _who: str, _reason: str) -> None:
    """Nobody keeps an audit."""


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
        self.memory = RiskMemory(path, wall_ms)
        last = self.memory.last
        self.portfolio = Portfolio(last.prices if last is not None else {})
        self.stops = Stops(self.memory, wall_ms, audit)
        self.protections = Protections(config.protections, self.memory.protections)
        self.correlations = Correlations()
        self.reservations = Reservations()
        self.use(config)
        self.granted = 0
        self.refusals: Counter[str] = Counter()  # by reason
        self.bad_ticks = 0
        self.event_ms: int | None = None
        self._key = key
        self._epoch = supervisor_epoch
        self._trips = Trips(self.memory.trips, self.portfolio.is_dust)
        self._granted_at = list(self.memory.granted)  # event times of the last minute
        self._closed: dict[str, tuple[str, str]] = {}  # markets in which nothing can be opened: why
        self._following = False  # the broker's account is known, and no event of it is missing
        if self.memory.set_aside:
            damage = f"{path.name} was damaged, it is now {self.memory.set_aside.name}"
            self.stops.engage_kill_switch(damage, AUTOMATIC)

    def use(self, config: RiskConfig) -> None:
        """Put other limits in force; a lock that has begun stays."""
        self.policy = RiskPolicy.of(config)
        self.protections.config = config.protections

    @property
    def status(self) -> RiskStatus:
        """ACTIVE, REDUCING or HALTED, why, and since when."""
        return self.stops.status

    # ------------------------------------------------------------------ what happens

    def on_ticks(self, ticks: Sequence[Tick], now_ns: int) -> None:
        """Take prices; the UTC day begins with the first tick of it, by event time."""
        for tick in ticks:
            if not (0 < tick.bid < inf and 0 < tick.ask < inf):
                self.bad_ticks += 1
                continue
            if self.event_ms is None or tick.event_ms > self.event_ms:
                self.event_ms = tick.event_ms
                if self.memory.begin_day(tick.event_ms // DAY_MS):
                    self.stops.resume_day("a new UTC day")
            self.portfolio.mark(tick)
        if any(tick.symbol in self.portfolio.positions for tick in ticks):
            self._value(now_ns)

    def on_bars(self, bars: Sequence[Bar]) -> None:
        """Take closed bars: what moves together is measured from them."""
        for bar in bars:
            self.correlations.add(bar)

    def set_market(self, symbol: str, market: MarketSpec | None, stale: str) -> None:
        """Take the rules of a market (None: not known), and why it is stale; empty: it is not."""
        if market is not None:
            self.portfolio.markets[symbol] = market
        if market is not None and not market.active:
            detail = f"{symbol} is not open for trading: a position can only be closed"
            self._closed[symbol] = ("market_inactive", detail)
        elif stale:
            self._closed[symbol] = ("market_stale", f"{symbol}: {stale}")
        else:
            self._closed.pop(symbol, None)

    @property
    def followed_seq(self) -> int | None:
        """Last event of the broker that was counted in, in this life or the one before; None: none is known."""
        return self._trips.seq

    def on_account_snapshot(self, snapshot: AccountSnapshot, now_ns: int) -> None:
        """Take the whole account; from now on grants may be given."""
        self._trips.resync(snapshot)
        self.portfolio.restore(snapshot)
        self._following = True
        self.refresh(now_ns)

    def on_missed_events(self, events: Sequence[OrderEvent]) -> None:
        """Learn what happened while nobody listened, before the snapshot that says what it came to."""
        for event in events:
            is_new = self._trips.seq is not None and event.seq > self._trips.seq
            if is_new and self.portfolio.seq is None and isinstance(event, OrderSubmitted):
                self._count_entry(event)
            self._judge(self._trips.apply(event))

    def on_order_events(self, events: Sequence[OrderEvent], now_ns: int) -> bool:
        """Follow the account.

        Returns
        -------
        bool
            False if events are missing: no grant is given until the supervisor has asked the broker for
            those after `followed_seq`, and then for a snapshot.
        """
        for event in events:
            self.reservations.release(event)
            try:
                self.portfolio.apply(event)
            except AccountBehindError:
                self._following = False
                return False
            self._judge(self._trips.apply(event))
        self.refresh(now_ns)  # a position that is closed needs no price any more
        return self._following

    def lost_broker(self) -> None:
        """The broker is gone: no grant until its next snapshot."""
        self._following = False

    def reset_day(self, reason: str, who: str, now_ns: int) -> None:
        """The operator's wish: clear the stops of the day, and count its losses from the equity of now."""
        self.memory.forget_day()
        self.protections.unlock("symbol_daily_loss")
        self.stops.resume_day(reason, who)
        self._value(now_ns)
        self._remember(now=True)

    def refresh(self, now_ns: int) -> RiskStatus:
        """Judge what time alone changes: ages of prices, lives of grants.

        Call it about once a second; a decision does it too.
        """
        self.reservations.expire(now_ns)
        unpriced = self.portfolio.unpriced(now_ns, self.policy.mark_max_age_ns)
        self.stops.set_condition(_STALE_MARK, bool(unpriced), f"no fresh price of {', '.join(unpriced)}")
        self._value(now_ns)
        return self.status

    def store_if_due(self, now_ns: int) -> None:
        """Write what has changed in the last ten seconds; never in the way of a price or a decision."""
        if self.memory.is_due(now_ns):
            self._remember(now=False)
            self.memory.store(now_ns)

    # ------------------------------------------------------------------ what is asked

    def decide(self, request: RiskRequest, now_ns: int) -> RiskAnswer:
        """Grant or refuse an entry.

        A grant counts as exposure at once: until its order has ended, or until no order can come of it
        any more.
        """
        self.refresh(now_ns)
        try:
            self._check(request)
            price, quantity = self._size(request, now_ns)
        except RefusedError as refusal:
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
        self.reservations.hold(grant, price)
        self.granted += 1
        self._granted_at.append(self.event_ms or 0)
        return sign_grant(self._key, grant)

    def has_seen(self, symbol: str, epoch: int, tick_seq: int) -> bool:
        """Whether the prices here are at least as new as those that an engine had seen."""
        return self.portfolio.has_seen(symbol, epoch, tick_seq)

    def summary(self, now_ns: int) -> dict[str, Any]:
        """State of risk for people and programs; fractions, amounts in the quote asset, None: unknown."""
        return risk_summary(self, self._worth(now_ns), self.portfolio.book_value if self._following else None)

    def exposures(self) -> Exposures:
        """Positions, open entries and grants."""
        exposures = self.portfolio.exposures()
        for held in self.reservations:
            now = held.quantity * self.portfolio.last_price(held.symbol)  # the price may have risen since
            exposures.may_open(held.symbol, held.side, max(held.cost, now))
        return exposures

    # ------------------------------------------------------------------ the decision

    def _check(self, request: RiskRequest) -> None:
        """Whether anything may be opened now in this market, by anyone."""
        if self.status.state != "ACTIVE":
            raise RefusedError(self.status.state.lower(), self.status.reason)
        if not self._following:
            raise RefusedError("account_unknown", "the broker has not told its account yet")
        if request.symbol in self._closed:
            raise RefusedError(*self._closed[request.symbol])
        lock = self.protections.lock_of(request.symbol, self.event_ms)
        if lock is not None:
            raise RefusedError(lock.rule, lock.reason)
        if request.client_id in self.reservations or self.portfolio.knows(request.client_id):
            raise RefusedError("already_granted", f"order {request.client_id} has its grant")
        if (now_ms := self.event_ms) is not None:  # far ahead of it are those before a recording was played again
            self._granted_at = [at_ms for at_ms in self._granted_at if abs(now_ms - at_ms) < _MINUTE_MS]
        if len(self._granted_at) >= self.policy.config.orders_per_minute:
            raise RefusedError("orders_per_minute", f"{len(self._granted_at)} were granted in the last minute")

    def _size(self, request: RiskRequest, now_ns: int) -> tuple[Decimal, Decimal]:
        """Price at which the request is valued, and the base quantity that it gets."""
        symbol, portfolio, policy = request.symbol, self.portfolio, self.policy
        mark, tick = portfolio.price(symbol, now_ns, policy.mark_max_age_ns), portfolio.tick(symbol)
        if mark is None or tick is None:
            raise RefusedError("no_mark", f"no fresh price of {symbol}")
        price = entry_price(request, mark, tick, policy)
        self._check_positions(request)
        worth = self._worth(now_ns)
        if worth is None or worth.equity <= 0:
            raise RefusedError("no_equity", f"equity is {'unknown' if worth is None else worth.equity}")
        market = portfolio.markets.get(symbol)
        size = position_size(request, round_trip_costs(market, tick), policy.config)
        cash = portfolio.free_cash() - self.reservations.cost
        limits = Limits(policy, worth.equity, cash, self.exposures(), self.correlations)
        return price, limits.quantity(request, price, size, market)

    def _check_positions(self, request: RiskRequest) -> None:
        symbol, portfolio = request.symbol, self.portfolio
        open_symbols = portfolio.open_positions
        held = portfolio.positions[symbol].quantity if symbol in open_symbols else ZERO
        if held * signed(request.side, Decimal(1)) < 0:
            raise RefusedError("opposite_position", f"{held} is open: close it before the other side is opened")
        taken = {*open_symbols, *portfolio.opening_symbols, *(held.symbol for held in self.reservations)}
        if symbol not in taken and len(taken) >= self.policy.max_positions:
            raise RefusedError("max_positions", f"{len(taken)} are open or about to be")

    # ------------------------------------------------------------------ what it is worth

    def _worth(self, now_ns: int) -> Valuation | None:
        if not self._following:
            return None
        return self.portfolio.value(now_ns, self.policy.mark_max_age_ns, self.event_ms or 0)

    def _value(self, now_ns: int) -> None:
        """Note what the portfolio is worth, and stop the day, or a symbol, if too much was lost."""
        worth = self._worth(now_ns) if self.event_ms is not None else None
        if worth is None:
            return
        start = self.memory.value(worth)
        if start.funds != worth.funds or start.profits is None:
            shift = shift_of(start, worth, self.portfolio.balances, self.portfolio.quote)
            self.protections.shift(shift.equity)
            start = moved(start, worth, shift)
            self.memory.day_start = start
            self._remember(now=False)  # peaks and start move together, or not at all
        change = worth.equity / start.equity - 1 if start.equity > 0 else ZERO
        if change <= -self.policy.daily_loss:
            self.stops.stop_day(f"equity {worth.equity:.2f} is {change:.2%} from the day's start")
        locked = [self._stop_symbol(symbol, start.lost(symbol, worth), start) for symbol in worth.profits or {}]
        if any([self.protections.on_equity(worth.event_ms, worth.equity), *locked]):
            self._remember(now=True)

    def _stop_symbol(self, symbol: str, lost: Decimal, start: DayStart) -> bool:
        if start.equity <= 0 or lost < self.policy.symbol_daily_loss * start.equity:
            return False
        reason = f"{symbol} has lost {lost / start.equity:.2%} of the day's equity"
        until_ms, event_ms = (start.day + 1) * DAY_MS, self.event_ms or 0
        return self.protections.lock(symbol, "symbol_daily_loss", reason, until_ms, event_ms)

    def _judge(self, trade: ClosedTrade | None) -> None:
        if trade is not None and self.protections.on_closed(trade):
            self._remember(now=True)

    def _count_entry(self, event: OrderSubmitted) -> None:
        """An entry of the life before, which may have been granted after that wrote last."""
        if not event.intent.reduce_only:
            self._granted_at.append(event.event_ms)

    def _remember(self, *, now: bool) -> None:
        self.memory.remember(self.protections.state, self._trips.state, list(self._granted_at), now=now)
