"""Making the ccxt object that holds the key to an account."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from levibot.errors import ConfigError
from levibot.exchange.credentials import PASSWORD_VARIABLE, Credentials
from levibot.exchange.session import ExchangeSession

_PARTS = {"apiKey": "key", "secret": "secret", "password": "password"}


def _ignore(*_: object) -> None:
    """Nobody listens."""


def build_private(
    session: ExchangeSession,
    credentials: Credentials,
    connected: Callable[[str], None] = _ignore,
    disconnected: Callable[[str, str], None] = _ignore,
) -> Any:
    """A sibling of the session's ccxt object with a key; nothing is sent yet. End it with `end_sibling`.

    Its numbers are texts, so that money never is a binary float, and its errors and debug lines tell no secret.

    Parameters
    ----------
    session
        An open session.
    credentials
        Key of the account.
    connected, disconnected
        As in `levibot.exchange.guard.Watcher`.

    Raises
    ------
    ConfigError
        If the exchange wants more with the key than there is.
    """
    made = session.sibling(connected, disconnected, _ignore)
    made.apiKey, made.secret = credentials.key, credentials.secret
    made.password = credentials.password or None
    for name, needed in made.requiredCredentials.items():
        if needed and not getattr(made, name, None):
            remedy = (
                f"add it, in {PASSWORD_VARIABLE} or in the file" if name == "password" else "choose another one"
            )
            raise ConfigError(f"{session.id} wants a {_PARTS.get(name, name)} with the key; {remedy}")
    made.secrets = credentials.secrets
    made.number = str
    made.options["maxRetriesOnFailure"] = 0
    # ccxt writes headers and bodies of requests to its logger: this one goes nowhere.
    made.logger = logging.Logger("ccxt of an account", logging.CRITICAL)
    made.verbose = False
    return made
