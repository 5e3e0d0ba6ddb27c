"""Waiting until every engine of a daemon is ready, or it is known that it will not be soon."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import click

from levibot.api.client import ApiError, NotRunningError
from levibot.cli.target import Target
from levibot.errors import RetryError, StopError
from levibot.execution.hindrance import ACCOUNT, REFUSED
from levibot.market.states import FAILED, OPENING

_POLL = 0.02
_PATIENCE = 5.0  # times as long as an answer takes: asking must not slow down what is waited for
_NOT_WANTED = ("stopped", "stopping")


class NotReadyError(RetryError):
    """The daemon runs, but some of it is not ready in time."""


class AccountRefusedError(StopError):
    """The account cannot be opened before a person has mended something; the text is the broker's reason."""


def wait_until_ready(
    target: Target,
    is_ours: Callable[[dict[str, Any]], bool],
    check: Callable[[], None],
    timeout: float,
) -> dict[str, Any]:
    """Poll until every engine that should run is ready, but for those whose market failed; the document then.

    Parameters
    ----------
    target
        The daemon.
    is_ours
        Told the daemon's part of the document; whether it is the one waited for.
    check
        Called between polls; raises if there is nothing to wait for any more.
    timeout
        Seconds.

    Raises
    ------
    NotReadyError
        If some engines are not ready in time, or no market at all was opened; the text says which, and why.
    AccountRefusedError
        As soon as the broker says so.
    """
    end = time.monotonic() + timeout
    document: dict[str, Any] | None = None
    with _Progress() as progress:
        while True:
            asked = time.monotonic()
            latest = _ask(target)
            pause = max(_POLL, _PATIENCE * (time.monotonic() - asked))
            if latest is not None and is_ours(latest["daemon"]):
                document = latest
                _refuse_hopeless_account(document)
                missing = _not_ready(document)
                progress.show(len(_wanted(document)) - len(missing), len(_wanted(document)))
                if all(_market_failed(engine) for engine in missing):
                    if missing and len(missing) == len(_wanted(document)):
                        raise NotReadyError(_explain(missing))
                    return document
                if all(_market_failed(engine) or _hopeless(engine, end - time.monotonic()) for engine in missing):
                    raise NotReadyError(_explain(missing))
            check()
            if time.monotonic() > end:
                raise NotReadyError(_late(document, timeout))
            time.sleep(pause)


def outcome(document: dict[str, Any], took: float) -> str:
    """How many engines are ready, in words; `took` in seconds."""
    missing, wanted = _not_ready(document), _wanted(document)
    count = f"{len(wanted) - len(missing)} of {len(wanted)}" if missing else "all"
    ready = f"{count} engines are ready after {took:.2f} s"
    trouble = document["daemon"]["model_trouble"]
    return f"{ready}, but strategies that ask a model get no answer yet: {trouble}" if trouble else ready


def tell_failed_markets(document: dict[str, Any]) -> None:
    """Say on standard error which engines wait for their market, and why; nothing if none does."""
    missing = _not_ready(document)
    if missing:
        click.echo(f"Warning: {_explain(missing)}", err=True)


def _ask(target: Target) -> dict[str, Any] | None:
    try:
        document: dict[str, Any] = target.client(timeout=5.0).get("/engines/status")
    except NotRunningError:
        return None
    except ApiError as error:
        if error.code == 504:  # busy starting
            return None
        raise
    return document


def _wanted(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [engine for engine in document["engines"] if engine["status"] not in _NOT_WANTED]


def _not_ready(document: dict[str, Any]) -> list[dict[str, Any]]:
    """One is not of use either whose market was not opened, whatever it says itself."""
    return [
        engine
        for engine in _wanted(document)
        if not engine["ready"] or engine["market"] == OPENING or _market_failed(engine)
    ]


def _market_failed(engine: dict[str, Any]) -> bool:
    return (engine["market"] or "").startswith(FAILED)


def _hopeless(engine: dict[str, Any], seconds: float) -> bool:
    """Whether an engine is down, and not tried again within this time."""
    attempt = engine["next_attempt_at"]
    return attempt is not None and attempt > time.time() + seconds


def _refuse_hopeless_account(document: dict[str, Any]) -> None:
    hindrance = _broker_waits_for(document)
    if hindrance.startswith(REFUSED):
        raise AccountRefusedError(f"the account is not traded: {hindrance.removeprefix(REFUSED)}")


def _broker_waits_for(document: dict[str, Any]) -> str:
    brokers = [worker for worker in document["workers"] if worker["worker"] == "broker"]
    return brokers[0]["waiting_for"] or "" if brokers else ""


def _late(document: dict[str, Any] | None, timeout: float) -> str:
    if document is None:
        return f"the daemon does not answer after {timeout:g} s; see `levibotctl logs supervisor`"
    hindrance = _broker_waits_for(document)
    if hindrance.startswith(ACCOUNT):
        why = "what the engines wait for is the broker's account"
        hint = f"{why}: {hindrance.removeprefix(ACCOUNT)}; the daemon tries again; see `levibotctl logs broker`"
        return f"after {timeout:g} s, {_explain(_not_ready(document))}\n{hint}"
    return f"after {timeout:g} s, {_explain(_not_ready(document))}"


def _explain(missing: list[dict[str, Any]]) -> str:
    lines = [f"{len(missing)} engine(s) not ready; the daemon runs on:"]
    for why, symbols in _failures(missing).items():
        lines.append(f"  {', '.join(symbols)}: market {why}")
    for engine in missing:
        if _market_failed(engine):
            continue
        reasons = [
            f"waits for {engine['waiting_for']}" if engine["waiting_for"] else "",
            engine["detail"] or "",
            f"last error: {engine['last_error']}" if engine["last_error"] else "",
        ]
        lines.append(f"  {engine['symbol']}: {'; '.join([engine['status'], *filter(None, reasons)])}")
    others = [engine["symbol"] for engine in missing if not _market_failed(engine)]
    logs = [f"`levibotctl logs {others[0]}`"] if others else []
    if len(others) < len(missing):
        logs.append("`levibotctl logs feed`; `levibotctl doctor` finds out what is wrong")
    lines.append(f"see {' and '.join(logs)}")
    return "\n".join(lines)


def _failures(missing: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Symbols by the reason for which their market failed."""
    found: dict[str, list[str]] = {}
    for engine in missing:
        if _market_failed(engine):
            found.setdefault(engine["market"], []).append(engine["symbol"])
    return found


class _Progress:
    """A bar on a terminal, nothing elsewhere."""

    def __init__(self) -> None:
        self._bar: Any = None

    def __enter__(self) -> _Progress:
        return self

    def show(self, ready: int, wanted: int) -> None:
        """Draw how many engines are ready."""
        if not sys.stderr.isatty():
            return
        if self._bar is None:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

            self._bar = Progress(
                TextColumn("engines ready"),
                BarColumn(),
                MofNCompleteColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._task = self._bar.add_task("ready", total=wanted)
            self._bar.start()
        self._bar.update(self._task, completed=ready, total=wanted)

    def __exit__(self, *_error: object) -> None:
        if self._bar is not None:
            self._bar.stop()
