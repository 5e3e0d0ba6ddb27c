"""What the HTTP interface asks of the supervisor, and how the supervisor says no."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Protocol

from levibot.api.caller import Caller
from levibot.errors import LeviBotError

Document = dict[str, Any]


class RefusedError(LeviBotError):
    """The supervisor does not carry out what was asked: the state of things is in the way.

    Parameters
    ----------
    detail
        What is in the way.
    remedy
        What the user can do about it.
    """

    def __init__(self, detail: str, remedy: str = "") -> None:
        super().__init__(f"{detail}; {remedy}" if remedy else detail)
        self.detail = detail
        self.remedy = remedy


class MalformedRequestError(RefusedError):
    """What was asked makes no sense, whatever the state of things."""


class AlreadySoError(RefusedError):
    """It is in the wanted state already."""


class ShuttingDownError(RefusedError):
    """The daemon is stopping and takes no more commands."""


class Operations(Protocol):
    """The supervisor, as its clients see it.

    Symbols are canonical here: the interface resolves what users write among `symbols`. Every method may
    raise `AlreadySoError`, `ShuttingDownError`, another `RefusedError`, or an error of `levibot.errors`.
    """

    def symbols(self) -> Sequence[str]:
        """Symbols that have an engine now, stopped ones too."""
        ...

    def known_symbols(self) -> Sequence[str]:
        """Symbols that have an engine, and those in which something is held."""
        ...

    def unexpected(self, error: Exception) -> None:
        """Count and log an error that no method was meant to raise."""
        ...

    def status_words(self) -> dict[str, str]:
        """Status word of each engine by symbol, of each other worker by name, and of ``risk``; asked often."""
        ...

    async def status(self) -> Document:
        """The whole status document."""
        ...

    async def start(self, symbol: str) -> Document: ...

    async def stop(self, symbol: str) -> Document: ...

    async def restart(self, symbol: str) -> Document: ...

    async def restart_worker(self, name: str) -> None:
        """Restart a worker that serves all symbols, free of charge.

        Raises
        ------
        UnknownSymbolError
            If there is none of this name.
        """
        ...

    async def pause(self, symbol: str) -> Document: ...

    async def resume(self, symbol: str) -> Document: ...

    async def add(self, symbol: str) -> Document:
        """Trade one more symbol until the next reload; ``message`` says so."""
        ...

    async def remove(self, symbol: str, *, flatten: bool, keep: bool) -> Document:
        """Trade a symbol no more until the next reload; ``message`` says so.

        An open position is refused, unless it is to be closed first or to be kept with what protects it.
        """
        ...

    async def settle(self, symbol: str, price: Decimal | None, reason: str) -> Document:
        """Book what the exchange has less than the books as sold by hand; ``message`` says what was booked.

        `price` None: the newest, as far as the exchange shows proceeds; 0: lost or withdrawn. Refused on paper,
        and without a shortage.
        """
        ...

    async def close(self, symbol: str, reason: str, *, pause: bool) -> Document:
        """Close the position of a symbol, which is traded on; `pause`: open none anew. ``message`` tells more."""
        ...

    async def reset(self, symbol: str | None) -> Document:
        """Give the restart budget back to one symbol, or to all workers."""
        ...

    async def reload(self, *, flatten: bool, keep: bool) -> Document:
        """Apply the configuration file: ``added``, ``removed``, ``changed``, ``restarted``, ``message``.

        Open positions of symbols that it removes are refused as by `remove`.

        Raises
        ------
        ConfigError
            If the file is wrong; nothing has changed then.
        """
        ...

    async def upgrade(self) -> Document:
        """Restart the whole daemon on the code that is installed now; answers before it goes."""
        ...

    async def shutdown(self) -> Document:
        """Stop everything; answers at once with ``positions``: symbol → signed base amount, and ``holdings``."""
        ...

    async def kill(self, on: bool, reason: str, *, flatten: bool) -> Document:
        """Set or clear the kill switch; answers as `live_status`, when the broker has confirmed or after 2 s.

        `flatten`: close all positions too, in the background, over restarts; releasing the switch ends it.
        """
        ...

    async def live_status(self) -> Document:
        """``kill_switch``, ``reason``, ``mode``, ``active``, and how far a command to switch has come."""
        ...

    async def risk_summary(self) -> Document: ...

    async def equity(self, days: int) -> Document:
        """Equity, its curve and its days, as `EquityForm` describes it.

        Raises
        ------
        DataStoreError
            If the record cannot be read.
        """
        ...

    async def reset_day(self, reason: str) -> Document:
        """Clear the daily stop and count the day's loss from now; ``message`` says so."""
        ...

    def record(self, caller: Caller, entry: Mapping[str, Any]) -> None:
        """Put into the audit what somebody asked for, and what became of it; it never raises."""
        ...

    async def audit(self, count: int) -> Document:
        """``entries``, the newest `count` of the audit, oldest first; ``unwritten``, ``lost``: how many."""
        ...

    async def health(self) -> Document:
        """``ok`` and what is wrong; not ok is answered with status 503."""
        ...

    async def altdata(self) -> Document:
        """Sources and last values of alternative data, as `AltDataForm` describes them."""
        ...

    async def alerts(self) -> list[Document]:
        """Alerts of the last days, newest first."""
        ...

    async def test_alerts(self) -> Document:
        """Send a test through every channel; answers at once with ``notice``, its identity.

        Raises
        ------
        RefusedError
            If there is no channel.
        """
        ...

    async def test_outcome(self, notice: str) -> Document:
        """``done`` and ``channels``: state and detail of each, of the test with this identity."""
        ...

    async def metrics(self, accept: str) -> tuple[bytes, str]:
        """All metrics for Prometheus in the form that the Accept header asks for, and its content type."""
        ...
