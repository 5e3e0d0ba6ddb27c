"""What the decision core wants done. Whoever drives it carries the commands out in order."""

from __future__ import annotations

from typing import Literal

import msgspec

from levibot.bus.messages import Intent, RiskRequest
from levibot.strategies.base import Question

Level = Literal["debug", "info", "warning", "error"]


class _Command(msgspec.Struct, frozen=True, array_like=True, tag=True):
    pass


class AskRisk(_Command, frozen=True):
    request: RiskRequest


class AskModel(_Command, frozen=True):
    """Get the models' answers to the strategy's question about a bar, as far as they come in time."""

    request_id: int  # of the core; its answer carries it
    bar_ms: int  # opening time of the bar
    question: Question


class SendIntent(_Command, frozen=True):
    """Journal the intent, then send it."""

    intent: Intent


class CancelIntent(_Command, frozen=True):
    client_id: str


class AskSnapshot(_Command, frozen=True):
    """Load history again: something was lost."""

    reason: str


class Note(_Command, frozen=True):
    """Something worth a line in the log; an error is counted too."""

    level: Level
    event: str
    fields: dict[str, str]


Command = AskRisk | AskModel | SendIntent | CancelIntent | AskSnapshot | Note
