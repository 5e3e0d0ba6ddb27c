"""Whether all that is on disk of money agrees to the last digit: `levibotctl doctor --ledger`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from levibot.doctor.finding import Finding
from levibot.equity.journal import FILE
from levibot.reports.audit import audit
from levibot.reports.difference import Difference
from levibot.reports.sources import BROKER

_OF_EQUITY = "move equity.sqlite away while the daemon is stopped: totals are added up anew, the curve is lost"
_DAMAGES = {"unreadable", "pages", "checksum"}
_OF_BOOKS = "look after the disk; restore a backup: `levibotctl restore FILE`"
_OF_LEDGER = (
    "look after the disk; `levibotctl start`, or `restart SYMBOL` while it runs, rebuilds it from the broker's"
    " books without loss: a backup is not needed, and knows less"
)
_REMEDY = "trade nothing more with this account, keep the state directory as it is, and report this"


def examine_ledgers(state_dir: Path) -> Iterator[Finding]:
    """Audit a state directory, with its daemon running or not.

    Parameters
    ----------
    state_dir
        Of one mode, exchange and account.
    """
    result = audit(state_dir)
    wrong = {difference.where for difference in result.differences}
    for difference in result.differences:
        found = f"{difference.name}: {difference.detail}"
        yield Finding(difference.where, "fail", found, _remedy(difference, books_are_whole=BROKER not in wrong))
    for where, checked in result.checked.items():
        if where not in wrong:
            yield Finding(where, "ok", checked)
    if not result.checked and not result.differences:
        yield Finding("ledgers", "ok", f"nothing was traded yet in {state_dir}")


def _remedy(difference: Difference, *, books_are_whole: bool) -> str:
    """A ledger follows from the broker's books; from these, nothing brings back what is lost but a backup."""
    if "newer LeviBot" in difference.detail:
        return "upgrade LeviBot; the file is whole"
    if difference.where == FILE:
        return _OF_EQUITY
    if difference.name in _DAMAGES:
        return _OF_LEDGER if difference.where != BROKER and books_are_whole else _OF_BOOKS
    return _REMEDY
