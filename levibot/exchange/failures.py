"""What ccxt raises, as the reaction that it demands."""

from __future__ import annotations

import re
import socket
from collections.abc import Collection
from typing import Any, NamedTuple, NoReturn

from levibot.errors import (
    CoolDownError,
    ExchangeClockError,
    ExchangeRefusedError,
    ExchangeUnavailableError,
    LeviBotError,
    MalformedAnswerError,
    RefusalReason,
)

_QUERY = re.compile(r"\?\S*")  # of a signed request it holds the signature
_NAMED = re.compile(
    r"(\b(?:signature|api_?key|listen_?key|secret|token|passphrase)[\"']?\s*[=:]\s*)[^\s&,}]+", re.I
)
_LONGEST = 300  # characters; a page of HTML says nothing
_ANSWER = "levibot_answer"  # attribute of an exception of ccxt


class Answer(NamedTuple):
    """What the exchange said as it refused."""

    status: int  # of HTTP
    code: str  # the exchange's own; empty: none
    text: str


def translate(error: Exception, what: str) -> LeviBotError:
    """Our error for what came out of a request to the exchange.

    Parameters
    ----------
    error
        From ccxt, or raised while ccxt read the answer.
    what
        What was asked for, for people.

    Returns
    -------
    LeviBotError
        `ExchangeRefusedError` only where the exchange definitely did not do it: no such symbol or order, no
        funds, wrong credentials, an invalid order. Whatever else happened, the request may have been carried
        out, and whoever sent an order has to ask. So has who cancelled one that is then not found: a cancel
        whose answer was lost is silently sent again.
    """
    from ccxt.base import errors as ccxt

    if isinstance(error, LeviBotError):
        return error
    text = f"{what}: {describe(error)}"
    if isinstance(error, ccxt.RateLimitExceeded | ccxt.DDoSProtection):
        return CoolDownError(text, 0.0)
    if isinstance(error, ccxt.InvalidNonce) and not isinstance(error, ccxt.ChecksumError):
        return ExchangeClockError(text)
    if isinstance(error, ccxt.ChecksumError | ccxt.BadResponse):
        return MalformedAnswerError(text)
    if isinstance(error, TimeoutError):
        return ExchangeUnavailableError(f"{what}: no answer in time")
    if isinstance(error, ccxt.OperationFailed | ccxt.ExchangeClosedByUser | OSError):
        return ExchangeUnavailableError(text)
    reason = _refusal(error)
    return ExchangeRefusedError(reason, text) if reason else MalformedAnswerError(text)


def describe(error: BaseException) -> str:
    """What an error says, and why nobody was reached: on one line, without the query of a URL, not endlessly."""
    chain = _chain(error)
    cause = next(filter(None, (_unreached(link) for link in chain)), "")
    if cause and error.args and error.args[0] in chain:
        return cause  # it only repeats another one
    text = " ".join(clean(str(error)).split())
    text = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
    return ": ".join(filter(None, (type(error).__name__, text, cause)))


def clean(text: str, secrets: Collection[str] = ()) -> str:
    """The text without queries of URLs, without values that are named like secrets, and without these secrets."""
    for secret in secrets:
        text = text.replace(secret, "…")
    return _NAMED.sub(r"\1…", _QUERY.sub("", text))


def redact(error: BaseException, secrets: Collection[str] = ()) -> None:
    """Take secrets out of an error and out of all that a traceback would print with it.

    What cannot be changed, such as errors that hold the address of a request, is cut off.
    """
    seen: set[int] = set()
    links = [error]
    while links:
        link = links.pop()
        seen.add(id(link))
        link.args = tuple(clean(part, secrets) if isinstance(part, str) else part for part in link.args)
        for name in ("__cause__", "__context__"):
            behind = getattr(link, name)
            if behind is None or id(behind) in seen:
                continue
            behind.args = tuple(clean(part, secrets) if isinstance(part, str) else part for part in behind.args)
            if clean(str(behind), secrets) == str(behind):
                links.append(behind)
            else:
                setattr(link, name, None)


def note_answer(error: Exception, status: int, response: Any) -> None:
    """Keep with ccxt's exception what it was made from: its class says less than the exchange did."""
    found = response if isinstance(response, dict) else {}
    code, text = found.get("code"), found.get("msg") or found.get("message")
    setattr(error, _ANSWER, Answer(status, "" if code is None else str(code), str(text or "")))


def answer_of(error: BaseException) -> Answer | None:
    """What the exchange said, if this error, or one that it was raised for, was made from an answer."""
    found = (getattr(link, _ANSWER, None) for link in _chain(error))
    return next((answer for answer in found if isinstance(answer, Answer)), None)


def raise_malformed(what: str, found: object, expected: str) -> NoReturn:
    """Refuse a part of an answer.

    Raises
    ------
    MalformedAnswerError
        Always.
    """
    shown = repr(found)
    shown = shown if len(shown) <= 80 else f"{shown[:80]}…"
    raise MalformedAnswerError(f"{what}: found {shown}, expected {expected}")


def _chain(error: BaseException) -> list[BaseException]:
    """The error, and what it was raised for or made of, each once."""
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        made_of = link.args[0] if link.args and isinstance(link.args[0], BaseException) else None
        link = made_of or link.__cause__
    return chain


def _unreached(error: BaseException) -> str:
    """Why a connection could not be made, and to whom, by one link of a chain; empty if it tells nothing of that.

    aiohttp tells of a proxy the address alone, so that no password is in it.
    """
    name, cause = type(error).__name__, getattr(error, "os_error", None)
    if name == "ClientHttpProxyError":
        return f"the proxy answered {getattr(error, 'status', '?')}"
    if not isinstance(cause, OSError):
        return ""
    host, port = getattr(error, "host", None), getattr(error, "port", None)
    proxy = "the proxy " if name == "ClientProxyConnectionError" else ""
    whom = f"{proxy}{host}:{port}"
    if isinstance(cause, socket.gaierror):
        return f"the name of {proxy}{host} is not known"
    if isinstance(cause, ConnectionRefusedError):
        return f"connection refused by {whom}"
    if isinstance(cause, TimeoutError):
        return f"{whom} did not answer in time"
    return f"{whom} cannot be reached ({cause.strerror or type(cause).__name__})"


def _refusal(error: Exception) -> RefusalReason | None:
    from ccxt.base import errors as ccxt

    if isinstance(error, ccxt.DuplicateOrderId):  # then the order is there: an answer was lost before
        return None
    kinds: tuple[tuple[type[Exception], RefusalReason], ...] = (
        (ccxt.BadSymbol, "symbol"),
        (ccxt.MarketClosed, "symbol"),
        (ccxt.AuthenticationError, "authentication"),
        (ccxt.InsufficientFunds, "funds"),
        (ccxt.OrderNotFound, "not found"),
        (ccxt.InvalidOrder, "order"),
        (ccxt.NotSupported, "request"),  # raised by ccxt itself, before anything is sent
        (ccxt.ArgumentsRequired, "request"),
    )
    return next((reason for kind, reason in kinds if isinstance(error, kind)), None)
