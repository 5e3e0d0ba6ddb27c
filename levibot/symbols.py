"""Symbols: one canonical form inside (ccxt's), one on disk, and the forms that users may write."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

from levibot.errors import UnknownSymbolError

_CANONICAL = re.compile(r"[A-Z0-9]{1,20}/[A-Z0-9]{1,20}(:[A-Z0-9]{1,20})?")
_NEAR = 0.75  # another coin with the same quote asset stays below


def is_canonical(symbol: str) -> bool:
    """Tell whether `symbol` is written as ``BASE/QUOTE`` or ``BASE/QUOTE:SETTLE``."""
    return _CANONICAL.fullmatch(symbol) is not None


def on_disk(symbol: str) -> str:
    """Form used in file names and worker names: ``BTC-USDT``, ``BTC-USDT_USDT`` for a swap."""
    return symbol.replace("/", "-").replace(":", "_")


def resolve(written: str, configured: Iterable[str], known_as: str = "configured") -> str:
    """Canonical symbol for what a user wrote.

    Parameters
    ----------
    written
        ``BTC/USDT``, ``BTC-USDT``, ``BTCUSDT``, or the same of a swap, in any case.
    configured
        The canonical symbols that may be meant.
    known_as
        What these are, for the text of the error.

    Raises
    ------
    UnknownSymbolError
        If none, or more than one, of `configured` is meant; the text names the nearest.
    """
    known = list(configured)
    wanted = written.strip().upper()
    for form in (str, on_disk, _joined):
        matches = [symbol for symbol in known if form(symbol) == wanted]
        if len(matches) == 1:
            return matches[0]
    written_as = {form(symbol): symbol for form in (_base, _joined, str) for symbol in known}
    near = difflib.get_close_matches(wanted, written_as, n=1, cutoff=_NEAR)
    hint = f"; did you mean {written_as[near[0]]}?" if near else ""
    listed = ", ".join(known) or "none"
    raise UnknownSymbolError(f"no such symbol: {written!r}{hint} ({known_as}: {listed})")


def _base(symbol: str) -> str:
    return symbol.partition("/")[0]


def _joined(symbol: str) -> str:
    return re.sub(r"[/:]", "", symbol)
