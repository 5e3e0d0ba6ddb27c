"""Whether all that is on disk of money agrees to the last digit: `levibotctl doctor --ledger`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from levibot.doctor.finding import Finding
from levibot.reports.audit import audit

_REMEDIES = {
    "unreadable": "put the right file there, or restore a backup: `levibotctl restore`",
    "pages": "look after the disk; restore a backup: `levibotctl restore`",
    "checksum": "look after the disk; restore a backup: `levibotctl restore`",
    "equity": "move equity.sqlite away while the daemon is stopped: totals are added up anew, the curve is lost",
}
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
        yield Finding(difference.where, "fail", found, _REMEDIES.get(difference.name, _REMEDY))
    for where, checked in result.checked.items():
        if where not in wrong:
            yield Finding(where, "ok", checked)
    if not result.checked and not result.differences:
        yield Finding("ledgers", "ok", f"nothing was traded yet in {state_dir}")
