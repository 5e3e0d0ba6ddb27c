"""What becomes of the positions of symbols that are to be traded no more."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from levibot.api.operations import RefusedError
from levibot.bus.messages import FlattenReport
from levibot.supervisor.worker import Worker

if TYPE_CHECKING:
    from levibot.supervisor.daemon import Daemon

_SECONDS = 20.0  # that closing may take while the operator waits
_REMEDY = "--flatten closes it first; --keep leaves it to the broker, which goes on to protect and to count it"


async def settle_positions(daemon: Daemon, symbols: Sequence[str], *, flatten: bool, keep: bool) -> None:
    """Close the positions of `symbols` if that is wanted, or see that they may stay.

    Engines of symbols whose positions were closed are stopped then, so that they open none anew.

    Raises
    ------
    RefusedError
        If one is open and nothing was said of it, or if it could not be closed; nothing has changed then.
    """
    if flatten and keep:
        raise RefusedError("flatten and keep exclude each other", "give one of them")
    if keep or not symbols:
        return
    if daemon.risk.portfolio.seq is None:
        raise RefusedError(
            "the broker has not told yet what positions there are", "wait until it is ready; or --keep them"
        )
    held = [symbol for symbol in symbols if symbol in daemon.risk.portfolio.open_positions]
    if held and not flatten:
        raise RefusedError(f"a position is open in {', '.join(held)}: nothing was removed", _REMEDY)
    if held:
        await _close(daemon, held)


async def _close(daemon: Daemon, symbols: list[str]) -> None:
    workers = [daemon.manager.engines[symbol] for symbol in symbols]
    stopped = [worker for worker in workers if worker.wanted]
    await asyncio.gather(*(worker.stop("its position is closed") for worker in stopped))
    report: FlattenReport | None = None
    try:
        report = await daemon.desk.orders.close(symbols, "the symbol is removed", _SECONDS)
    finally:
        if report is None or report.left:
            await _start_again(stopped)
    if report is None:
        raise RefusedError("the broker does not answer: nothing was removed", "see `levibotctl logs broker`")
    if report.left:
        left = "; ".join(f"{symbol}: {why}" for symbol, why in report.left.items())
        raise RefusedError(f"not closed within {_SECONDS:g} s, and nothing was removed: {left}", "try it again")


async def close_position(daemon: Daemon, symbol: str, reason: str) -> str:
    """Close the position of a symbol that is traded on; what has become of it, in words.

    Raises
    ------
    RefusedError
        If there is none, or if it could not be closed within 20 s.
    """
    if symbol not in daemon.risk.portfolio.open_positions:
        raise RefusedError(f"no position is open in {symbol}", "`levibotctl positions` shows what is held")
    report = await daemon.desk.orders.close([symbol], reason or "the operator closes it", _SECONDS)
    if report is None:
        raise RefusedError("the broker does not answer", "see `levibotctl logs broker`")
    if report.left:
        raise RefusedError(
            f"{symbol} was not closed within {_SECONDS:g} s: {report.left.get(symbol, '')}",
            "what is left keeps its protection; try it again",
        )
    dust = report.dust.get(symbol)
    return f"closed, but for dust: {dust}" if dust else "closed"


async def _start_again(workers: Sequence[Worker]) -> None:
    await asyncio.gather(*(worker.start() for worker in workers))
