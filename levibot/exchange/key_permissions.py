"""What a key may do: never withdraw, and trade."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from levibot.errors import ExchangeRefusedError, UnfitKeyError
from levibot.exchange.budget import WeightClass
from levibot.exchange.credentials import Credentials
from levibot.exchange.failures import raise_malformed


class Ask(Protocol):
    """Sends one request."""

    async def __call__(self, weight_class: WeightClass, request: Callable[[Any], Awaitable[Any]]) -> Any:
        """Return the exchange's answer."""
        ...


async def examine_key(ask: Ask, exchange_id: str, credentials: Credentials) -> list[str]:
    """Refuse a key that may withdraw, one that may not trade, and one that the exchange does not know.

    Parameters
    ----------
    ask
        Sends requests with the key.
    exchange_id
        Where.
    credentials
        The key.

    Returns
    -------
    list of str
        What the operator should know: what the exchange does not tell, and what could be safer.

    Raises
    ------
    UnfitKeyError
        If it must not be used.
    RetryError, BackOffError
        If nobody knows now.
    """
    examine = _EXAMINERS.get(exchange_id, _examine_unknown)
    try:
        return await examine(ask, f"{exchange_id} {credentials!r}")
    except ExchangeRefusedError as error:
        raise UnfitKeyError(
            f"{exchange_id} does not accept {credentials!r}: {error}; correct key and secret, and see whether the "
            "exchange ties the key to another address"
        ) from error


async def _examine_binance(ask: Ask, whose: str) -> list[str]:
    may = await ask("data", lambda made: made.sapiGetAccountApiRestrictions())
    if not isinstance(may, dict):
        raise_malformed(f"rights of {whose}", may, "a table")
    _refuse_withdrawing(whose, _right(may, "enableWithdrawals", whose))
    if not _right(may, "enableReading", whose):
        raise UnfitKeyError(f"{whose} may not read; allow it to at the exchange")
    if not _right(may, "enableSpotAndMarginTrading", whose):
        raise UnfitKeyError(f"{whose} may not trade; allow spot trading to it at the exchange")
    told = []
    if may.get("ipRestrict") is not True:
        told.append(f"{whose} works from any address; tie it to this machine's at the exchange")
    if may.get("enableInternalTransfer") is True or may.get("permitsUniversalTransfer") is True:
        told.append(f"{whose} may move money between accounts; take that right from it at the exchange")
    return told


async def _examine_mexc(ask: Ask, whose: str) -> list[str]:
    account = await ask("data", lambda made: made.spotPrivateGetAccount())
    if not isinstance(account, dict):
        raise_malformed(f"account of {whose}", account, "a table")
    if not _right(account, "canTrade", whose):
        raise UnfitKeyError(f"{whose}: the account may not trade; ask the exchange why")
    return [_not_told(whose)]


async def _examine_unknown(ask: Ask, whose: str) -> list[str]:
    await ask("data", lambda made: made.fetch_balance())
    return [
        _not_told(whose),
        "LeviBot has been tried with orders at binance and mexc alone: begin with little, and look at each order",
    ]


def _not_told(whose: str) -> str:
    return f"{whose}: the exchange does not tell what a key may do; make sure there that this one cannot withdraw"


def _refuse_withdrawing(whose: str, may: bool) -> None:
    if may:
        raise UnfitKeyError(
            f"{whose} may withdraw, so whoever gets hold of it can empty the account; take that right from it at "
            "the exchange, or make a key without it"
        )


def _right(table: Mapping[str, Any], name: str, whose: str) -> bool:
    """A right that is not told is not taken for granted, nor for absent."""
    found = table.get(name)
    if not isinstance(found, bool):
        raise_malformed(f"rights of {whose}: {name}", found, "true or false")
    return found


_EXAMINERS = {"binance": _examine_binance, "mexc": _examine_mexc}
