"""Messages through apprise. Only the notifier imports this module: apprise costs 20 MB.

apprise names URLs in its logs and errors, and a URL holds a token. So neither leaves this module; of a
failure, only the number that the other side answered with is told.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Iterable

import apprise

from levibot.alerting.secret_files import SecretLine
from levibot.alerting.texts import Text
from levibot.alerting.threads import in_thread

_ANSWER = re.compile(r"error[= :]+(\d{3})\b")
_TYPES = {"warning": apprise.NotifyType.WARNING, "critical": apprise.NotifyType.FAILURE}


class Target:
    """One line of the targets file, understood.

    Parameters
    ----------
    line
        With the URL.
    """

    def __init__(self, line: SecretLine) -> None:
        self.digest = line.digest
        self._running: asyncio.Future[str] | None = None
        self._apprise = apprise.Apprise(asset=apprise.AppriseAsset(app_id="LeviBot", async_mode=False))
        try:
            self.valid = bool(self._apprise.add(line.text))
        except Exception:  # noqa: BLE001 -- its text may hold the URL
            self.valid = False
        scheme = line.text.partition("://")[0] if self.valid else ""
        self.label = f"line {line.number}" + (f" ({scheme})" if scheme else "")

    async def send(self, text: Text, timeout: float) -> str:
        """Send a message; why it did not arrive, or an empty text.

        It happens in a thread, which cannot be killed: while one hangs, the target takes no other message.
        """
        if self._running is not None and not self._running.done():
            return "the attempt before still hangs"
        self._running = in_thread(lambda: self._notify(text), self.label)
        try:
            return await asyncio.wait_for(asyncio.shield(self._running), timeout)
        except TimeoutError:
            return f"no answer within {timeout:g} s"

    def _notify(self, text: Text) -> str:
        try:
            kind = apprise.NotifyType.SUCCESS if text.over else _TYPES[text.severity]
            result = self._apprise.notify(
                text.body, title=text.title, notify_type=kind, body_format=apprise.NotifyFormat.TEXT
            )
            answers = [found[1] for entry in result.logs() if (found := _ANSWER.search(entry.message))]
        except Exception as error:  # noqa: BLE001 -- whatever a plug-in raises: its text may hold the URL
            return type(error).__name__
        if result:
            return ""
        return f"answered {answers[-1]}" if answers else "not reached, or it refused"


def understood(lines: Iterable[SecretLine]) -> tuple[list[Target], list[str]]:
    """Targets by their lines, each URL once; and what is wrong with the others."""
    targets: dict[str, Target] = {}
    problems = []
    for line in lines:
        target = Target(line)
        if not target.valid:
            problems.append(
                f"alerts.targets_file, line {line.number}: not a URL that apprise knows;"
                " see https://appriseit.com/services/"
            )
        else:
            targets.setdefault(target.digest, target)
    return list(targets.values()), problems


def silence_loggers() -> None:
    """Let no library write its own log: what it would say names URLs."""
    logging.getLogger().addHandler(logging.NullHandler())
    logging.getLogger("apprise").propagate = False
