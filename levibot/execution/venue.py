"""What the broker needs of the place where orders are carried out: the paper exchange, or a real one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from levibot.bus.messages import (
    Bar,
    Book,
    Intent,
    LiveTradingReport,
    MarketSpec,
    OrderEvent,
    SettlePosition,
    SettleReport,
    Tick,
    Trades,
)
from levibot.execution.quotes import Quote


class Venue(Protocol):
    """Decides what happens to orders; `Books` writes it down, and the events are returned to be sent on.

    What happens later, such as the answer of a real exchange, a venue tells by the callback that it was made
    with. It never blocks: what takes time goes on in its own tasks.
    """

    def set_market(self, market: MarketSpec, stale: str = "") -> None:
        """Learn or renew the rules of a market, and why it is stale; empty: it is not."""
        ...

    def has_market(self, symbol: str) -> bool:
        """Tell whether the rules of the market are known."""
        ...

    def unready(self, symbol: str) -> str:
        """Why nothing can be said of `symbol` yet, such as a reconciliation under way; empty: it can."""
        ...

    def account_unready(self) -> str:
        """Why nothing can be said of the account as a whole yet; empty: it can."""
        ...

    def newest(self, symbol: str) -> Tick | None:
        """Newest price update of a symbol."""
        ...

    def fresh_quote(self, symbol: str, now_ns: int) -> Quote | str:
        """Best prices that an order can be sent on; or why there are none now: ask again.

        Parameters
        ----------
        now_ns
            CLOCK_BOOTTIME.
        """
        ...

    def note(self, tick: Tick) -> None:
        """Remember a price without trading on it."""
        ...

    def on_tick(self, tick: Tick) -> list[OrderEvent]:
        """Take in a price, and do what it triggers."""
        ...

    def on_flow(self, item: Book | Trades | Bar) -> list[OrderEvent]:
        """Take in an order book, public trades or a closed bar, and do what they let through."""
        ...

    def on_timer(self) -> list[OrderEvent]:
        """Do what only time brings; called some twenty times a second."""
        ...

    def resume(self, symbol: str) -> list[OrderEvent]:
        """Do what the newest price triggers; for when the market's rules have become known."""
        ...

    def submit(self, intent: Intent, *, denied: str | None = None, wait: bool = False) -> list[OrderEvent]:
        """Carry out an order, once: an id that is known already changes nothing.

        Parameters
        ----------
        intent
            The order.
        denied
            Why it must not be carried out, if the caller knows a reason.
        wait
            Fill on the next tick, not on the newest one.
        """
        ...

    def cancel(self, symbol: str, client_id: str) -> list[OrderEvent]:
        """Cancel a resting order; one that is at its end, or that nobody knows, is left alone."""
        ...

    def give_grants_back(self, intents: Iterable[Intent]) -> None:
        """What was done with these orders has been rolled back: they may be submitted again."""
        ...

    def unprotected(self) -> list[str]:
        """Symbols with a position that no stop covers; dust, which none could cover, is left out."""
        ...

    def settle(self, request: SettlePosition, answer: Callable[[SettleReport], object]) -> None:
        """Book what the exchange has less than the books as sold by hand; answered now or later, once."""
        ...

    def live_report(self) -> LiveTradingReport | None:
        """How the books stand to the exchange; None: there is none."""
        ...
