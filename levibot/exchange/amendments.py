"""What ccxt lacks for single exchanges: word of accepted subscriptions, and order books without holes."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import Any
from zlib import crc32

from levibot.exchange.quirks import quirks_of

_REFUSED = re.compile(r"Not Subscribed successfully! \[(.*?)\](.*)", re.DOTALL)
_MEXC_NAMES = {"public.aggre.deals.v3.api.pb": "trades", "public.aggre.depth.v3.api.pb": "orderbook"}
_CHECKED_LEVELS = 10
_PROVEN = 5  # updates of a book that follow each other, until one that does not is taken for a hole
_PAUSES_S = (0.2, 0.5, 1.0)  # until a snapshot is as new as the first update


class BinanceAmendment:
    """Acknowledgements by the id of the request, and a key that was revoked told as that."""

    acknowledges = True

    def handle_errors(self, *answer: Any) -> Any:
        """As ccxt, which takes the refusal of a key that has worked for one of a request too many.

        That would keep all processes from asking anything.
        """
        self.options["hasAlreadyAuthenticatedSuccessfully"] = False  # type: ignore[attr-defined]  # of ccxt
        parent: Any = super()
        return parent.handle_errors(*answer)

    def handle_subscription_status(self, client: Any, message: Mapping[str, Any]) -> Any:
        """Take in an acknowledgement, and tell whoever waits for it."""
        parent: Any = super()
        result = parent.handle_subscription_status(client, message)
        for name in _names_by_id(client, message):
            self.acknowledged(name)  # type: ignore[attr-defined]  # of GuardedExchange
        return result

    def handle_ws_error(self, client: Any, message: Mapping[str, Any]) -> None:
        """Take in a refusal, after which another watch subscribes again."""
        names = _names_by_id(client, message)
        parent: Any = super()
        parent.handle_ws_error(client, message)
        for name in names:
            client.subscriptions.pop(name, None)


class MexcAmendment:
    """Acknowledgements and refusals by the name of the channel, and books without holes.

    By itself ccxt takes a refusal for nothing, and then waits for ever. It takes the snapshot of a book after 25
    updates, which a quiet market may not see in minutes, ignores updates that overlap with it, and does not look
    whether one is missing.
    """

    acknowledges = True

    def handle_subscription_status(self, client: Any, message: Mapping[str, Any]) -> Any:
        """Take in an acknowledgement or a refusal, and tell whoever waits for it."""
        text = str(message.get("msg") or "")
        refused = _REFUSED.search(text)
        channels = (refused[1] if refused else text).split(",")
        names = [name for name in map(self._name, channels) if name is not None]
        if not names:
            parent: Any = super()
            return parent.handle_subscription_status(client, message)
        for name in names:
            if refused:
                _give_up(client, name, _error("ExchangeError", f"subscription refused: {text}"))
                continue
            if name.startswith("orderbook:"):
                self._begin_book(client, name)
            self.acknowledged(name)  # type: ignore[attr-defined]  # of GuardedExchange
        return message

    def handle_order_book(self, client: Any, message: Mapping[str, Any]) -> None:
        """Take in updates of a book that somebody watches: one that had a hole is of no use to anybody."""
        exchange: Any = self
        if f"orderbook:{exchange.safe_symbol(message.get('symbol'))}" in client.subscriptions:
            parent: Any = super()
            parent.handle_order_book(client, message)

    def handle_book_delta(self, book: Any, delta: Any) -> None:
        """Apply an update.

        Raises
        ------
        ChecksumError
            If one before it is missing. Where updates have not followed each other yet, nothing is concluded:
            a book that was begun anew for each number that the exchange leaves out would never be there.
        """
        first, last = (delta.get(key) for key in ("fromVersion", "toVersion"))
        if first is None or last is None:  # not of a spot market
            parent: Any = super()
            parent.handle_book_delta(book, delta)
            return
        known = book["nonce"]
        if int(last) <= known:
            return
        followed = int(first) <= known + 1
        if not followed and book.get("followed", 0) >= _PROVEN:
            raise _error("ChecksumError", f"order book: update {first} follows {known}, something is missing")
        book["followed"] = book.get("followed", 0) + 1 if followed else 0
        for side in ("bids", "asks"):
            self.handle_bookside_delta(book[side], delta.get(side) or [])  # type: ignore[attr-defined]  # of ccxt
        book["nonce"] = int(last)

    def _name(self, channel: str) -> str | None:
        """What ccxt calls a stream."""
        parts = channel.strip().split("@")
        kind = _MEXC_NAMES.get(parts[1]) if len(parts) > 2 else None
        return f"{kind}:{self.safe_symbol(parts[-1])}" if kind else None  # type: ignore[attr-defined]  # of ccxt

    def _begin_book(self, client: Any, name: str) -> None:
        exchange: Any = self
        symbol = name.partition(":")[2]
        book = exchange.orderbooks[symbol] = exchange.order_book({"symbol": symbol})
        exchange.spawn(self._load_book, client, name, symbol, book)

    async def _load_book(self, client: Any, name: str, symbol: str, book: Any) -> None:
        """Lay the updates that came meanwhile over a snapshot."""
        exchange: Any = self
        depth = quirks_of("mexc").book_depth
        try:
            for pause_s in _PAUSES_S:
                snapshot = await exchange.fetch_rest_order_book_safe(symbol, depth)
                if exchange.orderbooks.get(symbol) is not book:
                    return  # begun anew meanwhile
                if not book.cache or int(book.cache[0]["fromVersion"]) <= snapshot["nonce"] + 1:
                    break
                await asyncio.sleep(pause_s)
            updates, book.cache = book.cache, []
            book.reset(snapshot)
            for update in updates:
                self.handle_book_delta(book, update)
        except Exception as error:  # noqa: BLE001  # whoever watches the book deals with it
            exchange.orderbooks.pop(symbol, None)
            _give_up(client, name, error)
            return
        client.resolve(book, name)


class KrakenAmendment:
    """Books whose checksum is looked at, for nothing else shows that an update is missing.

    ccxt has an option for that, and fails at the first book with it: it takes prices for texts.
    """

    def handle_order_book(self, client: Any, message: Mapping[str, Any]) -> None:
        """Take in a snapshot or an update.

        Raises
        ------
        ChecksumError
            If the book is not the exchange's after it. Where not even a snapshot agrees, nothing is compared.
        """
        parent: Any = super()
        parent.handle_order_book(client, message)
        exchange: Any = self
        told = message["data"][0]
        symbol = told["symbol"]
        book, rules = exchange.orderbooks[symbol], exchange.market(symbol)["info"]
        decimals = int(rules["pair_decimals"]), int(rules["lot_decimals"])
        agrees = book_checksum(book["bids"], book["asks"], *decimals) == told.get("checksum")
        if message.get("type") == "snapshot":
            book["compared"] = agrees
        elif book.get("compared") and not agrees:
            raise _error("ChecksumError", f"order book of {symbol}: its checksum is another, something is missing")


def book_checksum(
    bids: Sequence[Sequence[float]], asks: Sequence[Sequence[float]], price_decimals: int, amount_decimals: int
) -> int:
    """Kraken's CRC-32 of the best ten asks and bids: the digits of price and amount, without leading zeros.

    Source: https://docs.kraken.com/api/docs/guides/spot-ws-book-v2
    """
    digits = [
        f"{value:.{decimals}f}".replace(".", "").lstrip("0")
        for level in (*asks[:_CHECKED_LEVELS], *bids[:_CHECKED_LEVELS])
        for value, decimals in ((level[0], price_decimals), (level[1], amount_decimals))
    ]
    return crc32("".join(digits).encode())


AMENDMENTS: Mapping[str, type] = {
    "binance": BinanceAmendment,
    "mexc": MexcAmendment,
    "kraken": KrakenAmendment,
}


def _names_by_id(client: Any, message: Mapping[str, Any]) -> list[str]:
    """What ccxt calls the streams that were asked for by the request which is answered."""
    answered = message.get("id")
    return [
        name
        for name, subscription in client.subscriptions.items()
        if isinstance(subscription, dict) and answered is not None and str(subscription.get("id")) == str(answered)
    ]


def _give_up(client: Any, name: str, error: Exception) -> None:
    client.subscriptions.pop(name, None)  # so that another watch subscribes again
    client.reject(error, name)


def _error(kind: str, text: str) -> Exception:
    from ccxt.base import errors

    error: Exception = getattr(errors, kind)(text)
    return error
