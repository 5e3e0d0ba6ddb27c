"""The channels as the dispatcher sees them: a target of apprise, and the hook."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from levibot.alerting.hook import Hook
from levibot.alerting.sender import Target
from levibot.alerting.texts import single, summary

_TIMEOUT = 30.0  # seconds that one message may take


class TargetChannel:
    """Tells people, in words.

    Parameters
    ----------
    target
        Where.
    """

    def __init__(self, target: Target) -> None:
        self.label = target.label
        self._target = target

    async def deliver(self, notices: Sequence[Mapping[str, Any]]) -> str:
        """See `Channel`."""
        text = single(notices[0]) if len(notices) == 1 else summary(notices)
        return await self._target.send(text, _TIMEOUT)


class HookChannel:
    """Tells a program, in JSON; many notices at once have ``"change": "summary"``.

    Parameters
    ----------
    hook
        The command.
    """

    label = "hook"

    def __init__(self, hook: Hook) -> None:
        self._hook = hook

    async def deliver(self, notices: Sequence[Mapping[str, Any]]) -> str:
        """See `Channel`."""
        many = {"change": "summary", "source": notices[-1]["source"], "notices": list(notices)}
        return await self._hook.run(notices[0] if len(notices) == 1 else many, _TIMEOUT)
