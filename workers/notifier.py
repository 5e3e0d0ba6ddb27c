"""The notifier worker: sends alerts, and the outward heartbeat. Wiring; the logic is `levibot.alerting`.

It alone reads the files with URLs, so it alone holds the secrets in them.
"""

from __future__ import annotations

import asyncio
import signal

from levibot.alerting.channels import HookChannel, TargetChannel
from levibot.alerting.dispatcher import Dispatcher
from levibot.alerting.hook import Hook
from levibot.alerting.outbox import Outbox
from levibot.alerting.pulse import Pulse
from levibot.alerting.secret_files import SecretFile
from levibot.alerting.sender import silence_loggers, understood
from levibot.alerting.threads import in_thread
from levibot.bus.messages import NotifierReport
from levibot.clock import boot_seconds, wall_ms
from levibot.config import AlertsConfig
from levibot.errors import DataStoreError
from levibot.private_file import PrivateFileError
from workers.async_worker import AsyncWorker
from workers.runtime import Runtime


def main(runtime: Runtime) -> None:
    """Run the notifier until it is told to stop."""
    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        # As deaf as any worker; but a program that it starts, the hook, is not to inherit that.
        signal.signal(signum, lambda _signum, _frame: None)
    silence_loggers()
    asyncio.run(NotifierWorker(runtime).run())


class NotifierWorker(AsyncWorker):
    """Files, timers and the outbox around one `Dispatcher`.

    Parameters
    ----------
    runtime
        The common part of a worker.
    """

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        spec = runtime.spec
        config = self._config = spec.alerts or AlertsConfig()
        self._outbox = Outbox(spec.state_dir / "alerts.sqlite")
        self._dispatcher = Dispatcher(self._outbox, boot_seconds, wall_ms, self._on_attempt)
        self._targets = SecretFile("targets_file", config.targets_file) if config.targets_file else None
        self._pulse: Pulse | None = None
        if config.heartbeat_file and spec.api_socket:
            self._pulse = Pulse(SecretFile("heartbeat_file", config.heartbeat_file), spec.api_socket)
        if config.hook:
            self._dispatcher.use_hook(HookChannel(Hook(config.hook)))
        self._beating: asyncio.Future[None] | None = None
        self._next_beat = 0.0
        self._told: set[str] = set()

    async def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        status = self._runtime.status
        status.ready, status.waiting_for = True, ""
        try:
            while self._stop is None:
                self._read_targets()
                if self._has_work():
                    self._dispatcher.turn()
                self._beat_outwards()
                self._tell_troubles()
                await self._turn()
        finally:
            await self._dispatcher.close()

    def _has_work(self) -> bool:
        try:
            return self._outbox.changed() or self._dispatcher.busy
        except DataStoreError:
            return True  # the dispatcher meets the same, and tells it

    def _read_targets(self) -> None:
        file = self._targets
        if file is None or not file.changed():
            return
        try:
            targets, problems = understood(file.read())
        except PrivateFileError as error:
            self._dispatcher.refuse_targets(str(error))
            return
        if not targets:
            problems = [*problems, "alerts.targets_file holds no URL that can be used"]
        self._dispatcher.use_targets({target.digest: TargetChannel(target) for target in targets}, problems)
        self._runtime.log.info("targets_read", targets=[target.label for target in targets])

    def _beat_outwards(self) -> None:
        now, pulse = boot_seconds(), self._pulse
        if pulse is None or now < self._next_beat or (self._beating and not self._beating.done()):
            return
        if self._beating is not None:
            self._beating.result()
        self._next_beat = now + self._config.heartbeat_interval
        self._beating = in_thread(pulse.beat, "heartbeat")

    def _on_attempt(self, label: str, problem: str) -> None:
        self._wake.set()
        if problem:
            self._log_limited("notice_not_delivered", f"{label}: {problem}")

    def _troubles(self) -> list[str]:
        beat = [self._pulse.trouble] if self._pulse is not None and self._pulse.trouble else []
        return [*self._dispatcher.troubles(), *beat]

    def _tell_troubles(self) -> None:
        troubles = self._troubles()
        kinds = {trouble.rpartition(", for ")[0] or trouble for trouble in troubles}
        if kinds - self._told:
            self._runtime.log.error("notifier_trouble", troubles=troubles)
        self._told = kinds

    def _report(self) -> NotifierReport:
        dispatcher, pulse = self._dispatcher, self._pulse
        return NotifierReport(
            sent=dispatcher.sent,
            failed=dispatcher.failed,
            waiting=dispatcher.waiting,
            given_up=dispatcher.given_up,
            heartbeats=pulse.sent if pulse else 0,
            heartbeats_failed=pulse.failed if pulse else 0,
            heartbeats_withheld=pulse.withheld if pulse else 0,
            trouble="; ".join(self._troubles()),
        )
