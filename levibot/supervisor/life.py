"""What a worker shares with the others, and what is known of its present process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from levibot.bus.messages import Heartbeat
from levibot.clock import boot_seconds
from levibot.observability.logging import Logger
from levibot.spec import WorkerSpec
from levibot.supervisor.channels import ControlChannel
from levibot.supervisor.health import Hearing, Verdict
from levibot.supervisor.history import RestartHistory
from levibot.supervisor.process import Launcher, Process, Sample

if TYPE_CHECKING:
    from levibot.supervisor.worker import Worker


class Observer(Protocol):
    """Who is told what happens to workers."""

    def changed(self, worker: Worker) -> None:
        """The worker's state, or what it says of itself, has changed."""

    def died(self, worker: Worker, cause: str) -> None:
        """A worker that was wanted has died."""

    def exhausted(self, worker: Worker) -> None:
        """No restart is left."""


@dataclass(frozen=True)
class Surroundings:
    """What all workers share."""

    launcher: Launcher
    slots: asyncio.Semaphore  # starts in flight
    control: ControlChannel
    history: RestartHistory
    observer: Observer
    log: Logger
    make_spec: Callable[[Worker], WorkerSpec]
    code_changed: Callable[[], bool]


@dataclass
class Life:
    """What is known of the present process."""

    process: Process | None = None
    launching: bool = False  # it has a slot, and the launcher is at work
    since: float = field(default_factory=boot_seconds)  # start requested, then Hello
    started: asyncio.Event = field(default_factory=asyncio.Event)  # Hello came, or it is over
    ready_at: float | None = None
    heartbeat: Heartbeat | None = None
    heartbeat_at_ms: int | None = None
    progress: float | None = None
    market: float | None = None
    hearing: Hearing = field(default_factory=Hearing)
    sample: Sample | None = None
    uss_bytes: int | None = None
    unique_at: float = 0.0  # when unique memory was read
    verdict: Verdict | None = None  # why it is being replaced
    crash: str = ""  # its last word
    stop_timer: asyncio.TimerHandle | None = None
