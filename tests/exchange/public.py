"""What the dialects have in common that speak market data only."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from tests.exchange.accounts import Account, Fill, Order
from tests.exchange.dialect import ApiError, AuthProblem, Dialect
from tests.exchange.market import SymbolMarket
from tests.exchange.model import Bar, BookChange, by_day
from tests.exchange.sockets import Connection, Encoded
from tests.exchange.views import ViewChange, Views


class PublicDialect(Dialect):
    """Market data; nobody has an account here."""

    key_header = "X-No-Key"
    max_streams = 1_000

    def __init__(self, exchange: Any) -> None:
        super().__init__(exchange)
        self.views = Views()

    def auth_error(self, what: AuthProblem) -> ApiError:
        return ApiError(401, 401, what)

    def tell_order(self, account: Account, order: Order, fill: Fill | None) -> None:
        """Nobody trades here."""

    def tell_balances(self, account: Account, assets: tuple[str, ...]) -> None:
        """Nobody trades here."""

    def listed(self) -> list[tuple[str, SymbolMarket]]:
        """Market ids and markets, without what is delisted."""
        return [(market_id, state) for market_id, state in self.states.items() if state.status != "delisted"]

    @staticmethod
    def bars(state: SymbolMarket, of_days: bool, start_ms: int | None, end_ms: int | None) -> list[Bar]:
        """Bars of a minute or a day that open in the span, both ends included; the newest is forming."""
        if not of_days:
            return state.all_bars(start_ms, end_ms)
        days = by_day(state.all_bars(None, end_ms))
        return [day for day in days if start_ms is None or day.open_ms >= start_ms]

    # ------------------------------------------------------------------ streams

    @abstractmethod
    def first_frame(self, stream: str) -> Encoded | None:
        """What a subscriber gets before all changes; None: nothing."""

    def subscribe(self, connection: Connection, stream: str) -> str:
        """Subscribe, and begin the view of a book that nobody saw until now."""
        anew = not self.exchange.hub.is_heard(stream)
        verdict = self.exchange.subscribe(connection, stream)
        depth = self.depth_of(stream) if verdict == "done" else None
        if depth is not None and anew:
            self.views.snapshot(stream, self.book_of(stream), depth, anew=True)
        return verdict

    @abstractmethod
    def depth_of(self, stream: str) -> int | None:
        """How deep a stream shows the book by its changes; None: it does not."""

    def book_of(self, stream: str) -> Any:
        channel = self.channel(stream)
        assert channel is not None
        return self.market.symbols[channel[1]].book

    def whole_view(self, stream: str) -> ViewChange:
        """The snapshot of a stream that shows changes."""
        depth = self.depth_of(stream)
        assert depth is not None
        return self.views.snapshot(stream, self.book_of(stream), depth, anew=False)

    def view_change(self, stream: str, event: BookChange) -> ViewChange | None:
        return self.views.change(stream, self.market.symbols[event.symbol].book, event)
