"""One session with an exchange: its ccxt object, its markets, its clock, and the one way to send a request."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from levibot.bus.messages import MarketSpec
from levibot.config_market import ExchangeConfig
from levibot.errors import (
    CoolDownError,
    DataStoreError,
    ExchangeClockError,
    ExchangeRefusedError,
    ExchangeUnavailableError,
    LeviBotError,
    RetryError,
)
from levibot.exchange.bucket_file import BucketFile
from levibot.exchange.budget import Allowance, Budget, Role, WeightClass
from levibot.exchange.building import build
from levibot.exchange.cooldown import FILE, CoolDown
from levibot.exchange.failures import translate
from levibot.exchange.guard import Watcher
from levibot.exchange.listeners import Listeners
from levibot.exchange.loop_errors import LoopErrors
from levibot.exchange.markets import merge, read_markets
from levibot.exchange.permit import PERMIT, Permit
from levibot.exchange.quirks import Quirks, quirks_of
from levibot.exchange.reach import Reach
from levibot.exchange.server_clock import ServerClock
from levibot.exchange.upkeep import Upkeep
from levibot.exchange.validation import read_time

T = TypeVar("T")

DEADLINE_S = 4.0
_MARKETS_DEADLINE_S = 30.0  # thousands of markets in one answer
_CLOCK_EVERY_S, _MARKETS_EVERY_S = 600.0, 3600.0
_PAUSES_S = (0.25, 1.0)  # between the attempts of `read`
_ASKED: Mapping[WeightClass, str] = {  # what was sent, for people
    "data": "asking {} for data",
    "order": "sending an order to {}",
    "protective": "asking {} to cancel, or about orders",
}


class ExchangeSession:
    """A session with one exchange, on one event loop.

    ``await open()`` once, again after it failed; ``await close()`` in the end, whatever happened. In between:

    - ``await call("data", lambda exchange: exchange.fetch_order_book(symbol, 50))`` sends a request;
    - `exchange` is the real ccxt.pro object, for ``watch_*`` (which take no permit and raise what ccxt raises:
      pass that through `failures.translate`) — one consumer for each stream, and never `asyncio.wait_for` around
      a watch that another one shares;
    - `markets` are the specifications, read again each hour; `quirks` say which streams work, and the limits;
    - `exchange_ms()` is the exchange's time, `budget` and `cool_down` say what was sent and when it may go on.

    What an answer holds is not checked here: see `levibot.exchange.validation`.

    Parameters
    ----------
    exchange_id
        Any that ccxt.pro streams, in lower case.
    config
        Section ``[exchange]``.
    role
        Whose share of the rate limit is used.
    state_dir
        Folder of the cool-down, which all processes obey.
    listeners
        Who is told of what.
    swaps
        Whether swaps are wanted as well as spot markets.
    patience_s
        Seconds that a request waits for its turn in the rate limit, at most.
    """

    def __init__(
        self,
        exchange_id: str,
        config: ExchangeConfig,
        role: Role,
        state_dir: Path,
        listeners: Listeners | None = None,
        *,
        swaps: bool = False,
        patience_s: float = 30.0,
    ) -> None:
        self.id = exchange_id
        self.quirks: Quirks = quirks_of(exchange_id)
        self.cool_down = CoolDown(state_dir / FILE)
        self._state_dir = state_dir
        self._buckets: BucketFile | None = None
        self.reach = Reach()
        self.markets: Mapping[str, MarketSpec] = {}
        self._clock = ServerClock(lambda: self.call("data", _fetch_time))
        self._config = config
        self._role = role
        self._listeners = listeners or Listeners()
        self._swaps = swaps
        self._patience_s = patience_s
        self._exchange: Any = None
        self._budget: Budget | None = None
        self._unreadable: Mapping[str, str] = {}
        self._siblings: list[Any] = []  # with our markets
        self._others: list[Any] = []  # with markets of their own
        self._loop_errors = LoopErrors(lambda error: self._listeners.trouble("stream", error))
        self._upkeep = Upkeep(self._listeners.trouble)

    # ------------------------------------------------------------------ lifecycle

    async def open(self) -> None:
        """Make the ccxt object, measure the clocks, read the markets, and keep both up to date from now on.

        Raises
        ------
        ConfigError
            If the exchange, a URL or the sandbox is not there.
        DataStoreError
            If another process uses the same share of the rate limit, or its file cannot be opened.
        RetryError, BackOffError
            If it does not work now; call it again.
        """
        if self._exchange is None:
            exchange = await asyncio.to_thread(build, self.id, self._config, self.quirks, swaps=self._swaps)
            allowance = Allowance.of(self._config, self._role, 60_000 / exchange.rateLimit)
            self._buckets = BucketFile(self._state_dir / f"exchange-budget-{self._role}.bin")
            self._budget = Budget(allowance, self.cool_down, self._patience_s, self._buckets)
            exchange.watch_over(
                Watcher(
                    self._budget, self._begin_cool_down, self._listeners.connected, self._listeners.disconnected
                )
            )
            self._exchange = exchange
            self._loop_errors.install(asyncio.get_running_loop())
        if self._upkeep.is_running:
            return
        await self.measure_clock()
        await self.read_markets()
        self._upkeep.repeat("clock", self.measure_clock, _CLOCK_EVERY_S)
        self._upkeep.repeat("markets", self.read_markets, _MARKETS_EVERY_S)

    async def close(self) -> None:
        """End everything; no task and no socket is left. Pending watches are cancelled.

        End the tasks that watch first: one that goes on would open a connection again.
        """
        await self._upkeep.close()
        for made in (*self._siblings, *self._others):
            await self.end_sibling(made)
        if self._exchange is not None:
            await self._exchange.end()
            self._exchange = None
            self._loop_errors.remove(asyncio.get_running_loop())
        if self._buckets is not None:
            self._buckets.close()
            self._buckets = None

    # ------------------------------------------------------------------ siblings

    def sibling(
        self,
        connected: Callable[[str], None],
        disconnected: Callable[[str, str], None],
        handled: Callable[[int], None],
    ) -> Any:
        """Another ccxt.pro object, for a connection of its own, with the same markets, budget and cool-down.

        The parameters are those of `levibot.exchange.guard.Watcher`.
        """
        made = build(self.id, self._config, self.quirks, swaps=self._swaps)
        made.watch_over(Watcher(self.budget, self._begin_cool_down, connected, disconnected, handled))
        made.set_markets_from_exchange(self.exchange)
        made.ssl_context = self.exchange.ssl_context  # reading the system's certificates takes long
        self._siblings.append(made)
        return made

    def swaps(self) -> Any:
        """Another ccxt object, for requests alone, that knows swaps too; nothing is sent yet.

        Its markets are its own: what keeps them from being read must not keep spot markets from being traded.
        """
        made = build(self.id, self._config, self.quirks, swaps=True)
        listeners = self._listeners
        made.watch_over(Watcher(self.budget, self._begin_cool_down, listeners.connected, listeners.disconnected))
        self._others.append(made)
        return made

    async def end_sibling(self, exchange: Any) -> None:
        """End what `sibling` or `swaps` made; no task and no socket of it is left."""
        self._siblings = [sibling for sibling in self._siblings if sibling is not exchange]
        self._others = [other for other in self._others if other is not exchange]
        await exchange.end()

    # ------------------------------------------------------------------ what it is

    @property
    def exchange(self) -> Any:
        """The ccxt.pro object."""
        assert self._exchange is not None, "the session is not open"
        return self._exchange

    @property
    def budget(self) -> Budget:
        """What this process may send."""
        assert self._budget is not None, "the session is not open"
        return self._budget

    def exchange_ms(self) -> int:
        """The exchange's time, Unix ms; a step of this machine's clock does not change it."""
        return self._clock.now_ms()

    @property
    def skew_ms(self) -> int:
        """This machine's wall clock less the exchange's."""
        return self._clock.skew_ms

    def spec(self, symbol: str) -> MarketSpec:
        """Specification of a market; one that is halted or delisted is not `active`.

        Raises
        ------
        ExchangeRefusedError
            If there is no such market, or it could not be read.
        """
        found = self.markets.get(symbol)
        if found is None:
            why = self._unreadable.get(symbol) or f"{self.id} has no market {symbol}; remove it from symbols"
            raise ExchangeRefusedError("symbol", why)
        return found

    @property
    def may_ask(self) -> bool:
        """Whether it makes sense to ask for what can wait: it answers, and no cool-down forbids it."""
        return not self.reach.is_lost and not self.cool_down.remaining_s()

    # ------------------------------------------------------------------ requests

    async def call(
        self, weight_class: WeightClass, request: Callable[[Any], Awaitable[T]], deadline_s: float = DEADLINE_S
    ) -> T:
        """Send one request, once.

        Parameters
        ----------
        weight_class
            ``"data"``, ``"order"``, or ``"protective"`` for cancels, exits and reconciliation, which have a
            reserve of their own.
        request
            Called with the ccxt object.
        deadline_s
            Seconds until it is given up; waiting for the turn does not count.

        Raises
        ------
        ExchangeUnavailableError, MalformedAnswerError, ExchangeClockError
            Retry; of an order, nobody knows whether it was carried out.
        CoolDownError, BudgetError
            Back off; nothing was sent, or it was refused for the rate limit.
        ExchangeRefusedError
            Give up; it was definitely not carried out.
        """
        self.budget.check_cool_down()
        if self._clock.is_measured:  # ccxt stamps signed requests by the wall clock
            self.exchange.options["timeDifference"] = self.skew_ms
        try:
            async with asyncio.timeout(deadline_s) as timeout:
                permit = PERMIT.set(Permit(weight_class, timeout))
                try:
                    result = await request(self.exchange)
                finally:
                    PERMIT.reset(permit)
        except Exception as error:
            raise self._react(error, weight_class) from error
        self.reach.answered()
        self.cool_down.relax()
        return result

    async def read(
        self, request: Callable[[Any], Awaitable[Any]], check: Callable[[Any], T], deadline_s: float = DEADLINE_S
    ) -> T:
        """Ask for data, check them, and ask twice more where another attempt may help; never for orders.

        Parameters
        ----------
        request
            Called with the ccxt object for each attempt.
        check
            Makes something of the answer, or raises `MalformedAnswerError`.
        deadline_s
            Seconds for each attempt.

        Raises
        ------
        RetryError, BackOffError, ExchangeRefusedError
            As `call`.
        """
        for pause_s in _PAUSES_S:
            try:
                return check(await self.call("data", request, deadline_s))
            except RetryError:
                if self.reach.is_lost:
                    raise
                await asyncio.sleep(pause_s)
        return check(await self.call("data", request, deadline_s))

    # ------------------------------------------------------------------ upkeep

    async def measure_clock(self, *, is_disputed: bool = False) -> None:
        """Compare the clocks; signed requests carry the exchange's time from then on.

        Parameters
        ----------
        is_disputed
            Whether the exchange has refused our time: then its answer is believed at once.

        Raises
        ------
        RetryError, BackOffError
            If it cannot be asked, or says something else each time.
        """
        if self.exchange.has.get("fetchTime"):
            await self._clock.measure(is_disputed=is_disputed)

    async def read_markets(self) -> None:
        """Read all markets again; what has vanished stays, as inactive.

        Raises
        ------
        RetryError, BackOffError
            If it cannot be asked, or answers with something else; the former markets hold.
        """
        found = await self.call("data", lambda exchange: exchange.fetch_markets(), _MARKETS_DEADLINE_S)
        exchange = self.exchange
        reading = read_markets(found, exchange.precisionMode, exchange.fees or {})
        merged, changed = merge(self.markets, reading.specs)
        gone = [market for symbol, market in (exchange.markets or {}).items() if symbol not in reading.specs]
        exchange.set_markets([*found, *(market for market in gone if market["symbol"] in merged)])
        for sibling in self._siblings:
            sibling.set_markets_from_exchange(exchange)
        first = not self.markets
        self.markets, self._unreadable = merged, reading.unreadable
        if changed and not first:
            self._listeners.markets_changed(changed)

    # ------------------------------------------------------------------ failures

    def _react(self, error: Exception, weight_class: WeightClass) -> LeviBotError:
        failure = translate(error, _ASKED[weight_class].format(self.id))
        if isinstance(failure, CoolDownError):
            self._begin_cool_down(None, str(failure))
            return CoolDownError(self.cool_down.reason, self.cool_down.remaining_s())
        if isinstance(failure, ExchangeUnavailableError):
            self.reach.unanswered(str(failure))
        elif isinstance(failure, ExchangeRefusedError):
            self.reach.answered()
        if isinstance(failure, ExchangeClockError):
            self._upkeep.once(self._measure_after_refusal())
        return failure

    def _begin_cool_down(self, seconds: float | None, reason: str) -> None:
        self.cool_down.begin(seconds, reason)
        self._upkeep.once(self._save_cool_down(), must_end=True)

    async def _save_cool_down(self) -> None:
        try:
            await asyncio.to_thread(self.cool_down.save)
        except DataStoreError as error:
            self._listeners.trouble("cool-down", error)

    async def _measure_after_refusal(self) -> None:
        try:
            await self.measure_clock(is_disputed=True)
        except LeviBotError as error:
            self._listeners.trouble("clock", error)


async def _fetch_time(exchange: Any) -> int:
    return read_time(await exchange.fetch_time())
