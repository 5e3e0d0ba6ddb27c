"""One supervised worker: its state, its process, its restarts. The same for every kind."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from levibot.bus.messages import Acknowledged, Command, Heartbeat, Pause, Report, Resume, Stop
from levibot.clock import boot_seconds, wall_ms
from levibot.config import PolicyConfig
from levibot.errors import LaunchError
from levibot.spec import WorkerKind
from levibot.supervisor.health import ErrorWindow, Verdict, Vitals, describe_exit
from levibot.supervisor.life import Life, Surroundings
from levibot.supervisor.recovery import Attempt, RestartPolicy
from levibot.supervisor.states import Event, Observed, next_state
from levibot.supervisor.totals import Totals
from levibot.supervisor.uptime import Uptime

_CODE_CHECK_INTERVAL = 5.0
_STACK_DUMP_TIME = 0.1  # seconds a hung worker has to write its stack


class Worker:
    """A worker that the supervisor keeps in the state that the operator wants.

    Parameters
    ----------
    name, kind
        ``engine-BTC-USDT`` and ``engine``, for example.
    symbol
        Of an engine.
    policy
        Numbers of its kind.
    around
        What all workers share.
    """

    def __init__(
        self, name: str, kind: WorkerKind, symbol: str | None, policy: PolicyConfig, around: Surroundings
    ) -> None:
        self.name = name
        self.kind: WorkerKind = kind
        self.symbol = symbol
        self.policy = policy
        self.observed = Observed.STOPPED
        self.paused = False
        self.wanted = False
        self.incarnation = 0
        self.life = Life()
        self.next_attempt: Attempt | None = None
        self.detail = ""
        self.last_error = ""
        self.errors = ErrorWindow(policy.error_window)
        self.error_total = 0  # over all incarnations
        self.last_report: Report | None = None
        self.uptime = Uptime()
        self.totals = Totals()
        self._around = around
        self._commands = asyncio.Lock()  # operator's commands wait for each other, in order, per worker
        self._stopped = asyncio.Event()
        self._stopped.set()
        self._retired = False
        self._cause = ""
        self._timer: asyncio.TimerHandle | None = None
        self._launch: asyncio.Task[None] | None = None

    # ------------------------------------------------------------------ what is known

    @property
    def running(self) -> bool:
        """Whether its process has said Hello."""
        return self.observed is Observed.RUNNING

    @property
    def ready(self) -> bool:
        """Whether it runs, and waits for nothing."""
        return self.running and self.life.heartbeat is not None and self.life.heartbeat.ready

    def vitals(self, now: float, market_there: float | None) -> Vitals:
        """What health judges by; see `Vitals`."""
        life = self.life
        return Vitals(
            started=self.running,
            since=life.since,
            progress=life.progress,
            unheard=life.hearing.unheard(life.market, market_there if self.ready else None, self.policy),
            errors=self.errors.count(now),
            sample=life.sample,
        )

    def note_uptime(self) -> None:
        """Bring `uptime` up to this moment."""
        self.uptime.note(boot_seconds(), ready=self.ready, wanted=self.wanted)

    def restarts(self) -> list[float]:
        """Times of its automatic restarts in the window."""
        return self._around.history.restarts(self.name, self.policy.restart_window, boot_seconds())

    # ------------------------------------------------------------------ the operator's commands

    async def start(self) -> None:
        """Bring it up; free of charge."""
        async with self._commands:
            if self._retired:
                return
            self.wanted = True
            if self.observed in (Observed.STOPPED, Observed.BACKOFF, Observed.EXHAUSTED):
                self._begin(Event.START_REQUESTED)

    async def stop(self, reason: str) -> None:
        """Bring it down: ask, wait for the grace period, then kill its whole tree."""
        async with self._commands:
            self.wanted = False
            await self._bring_down(reason)

    async def restart(self, reason: str) -> None:
        """Stop and start it; free of charge."""
        async with self._commands:
            await self._restart(reason)

    async def renew(self, reason: str) -> None:
        """The same, unless somebody wants it down by now."""
        async with self._commands:
            if self.wanted:
                await self._restart(reason)

    async def retire(self, reason: str) -> None:
        """Bring it down for good: no command that waits or comes later starts it again."""
        self._retired = True
        await self.stop(reason)
        self.detail = reason

    def set_paused(self, paused: bool) -> asyncio.Future[Acknowledged]:
        """Pause or resume; a process started later begins so."""
        self.paused = paused
        return self.command(Pause if paused else Resume)

    def command(self, make: Callable[[int], Command]) -> asyncio.Future[Acknowledged]:
        """Send a command; done when acknowledged, cancelled if there is nobody to hear it."""
        return self._around.control.command(self.name, make)

    def reset(self) -> None:
        """Forget the restarts of the past; an exhausted worker is tried again at once."""
        self._around.history.clear(self.name)
        self.errors.forgive()
        self._move(Event.RESET)
        if self.observed is Observed.BACKOFF:
            self._plan()

    # ------------------------------------------------------------------ what happens to it

    def on_hello(self, incarnation: int) -> None:
        """Its process runs and listens."""
        if incarnation != self.incarnation or self.observed not in (Observed.STARTING, Observed.STOPPING):
            return
        self._move(Event.STARTED)
        self.life.since = boot_seconds()
        self.life.started.set()
        self._around.observer.changed(self)

    def on_crash(self, incarnation: int, error: str) -> None:
        """Its process ends by an error; the exit itself comes through the pidfd."""
        if incarnation == self.incarnation:
            self.life.crash = error

    def on_heartbeat(self, heartbeat: Heartbeat) -> None:
        """A sign of life; its age is counted from now, by our clock."""
        if heartbeat.incarnation != self.incarnation or not self.running:
            return
        now, life = boot_seconds(), self.life
        before = life.heartbeat
        if before is None or heartbeat.turns > before.turns:
            life.progress = now
        if heartbeat.market_ns is not None:
            life.market = heartbeat.market_ns / 1e9
        self.error_total += heartbeat.errors - (before.errors if before else 0)
        self.errors.update(heartbeat.errors, now)
        if heartbeat.last_error:
            self.last_error = heartbeat.last_error
        life.heartbeat, life.heartbeat_at_ms = heartbeat, wall_ms()
        self.totals.take(heartbeat, now, life.heartbeat_at_ms)
        self.last_report = heartbeat.report or self.last_report
        self.note_uptime()
        if heartbeat.ready and life.ready_at is None:
            life.ready_at = now
            self.detail = ""
            self._around.log.info("worker_ready", worker=self.name, seconds=round(now - life.since, 4))
        if before is None or (before.ready, before.waiting_for) != (heartbeat.ready, heartbeat.waiting_for):
            self._around.observer.changed(self)

    def replace(self, verdict: Verdict) -> None:
        """Carry out a verdict: the exit that follows is counted under its cause."""
        life = self.life
        if life.verdict is not None or life.process is None:
            return
        life.verdict = verdict
        self._around.log.error(
            "worker_condemned", worker=self.name, cause=verdict.cause, reason=verdict.reason, pid=life.process.pid
        )
        loop = asyncio.get_running_loop()
        if verdict.graceful:
            self.command(lambda number: Stop(number, verdict.reason))
            life.stop_timer = loop.call_later(self.policy.stop_grace, life.process.kill_tree)
        else:
            life.process.dump_stack()
            life.stop_timer = loop.call_later(_STACK_DUMP_TIME, life.process.kill_tree)

    def check_timer(self, now: float) -> None:
        """A loop timer stands still in suspend; call this now and then."""
        if self.next_attempt is not None and now >= self.next_attempt.at + 1.0:
            self._attempt_due()

    # ------------------------------------------------------------------ starting

    def _begin(self, event: Event) -> None:
        self._cancel_timer()
        if self._around.code_changed():
            self._refuse_changed_code(event)
            return
        self._move(event)
        self._stopped.clear()
        self.incarnation += 1
        self.life = Life()
        self.errors.restart()
        self.detail = ""
        self._launch = asyncio.get_running_loop().create_task(self._start_process(self.incarnation))
        self._launch.add_done_callback(_raise_in_loop)
        self._around.observer.changed(self)

    def _refuse_changed_code(self, event: Event) -> None:
        self.detail = "the code on disk has changed since the daemon started: run `levibotctl upgrade`"
        self._around.log.error("start_refused", worker=self.name, reason=self.detail)
        if self.observed is Observed.STOPPED:
            self._around.observer.changed(self)
            return
        self._set_timer(Attempt(boot_seconds() + _CODE_CHECK_INTERVAL, exhausted=False))
        self._around.observer.changed(self)

    async def _start_process(self, incarnation: int) -> None:
        """Runs until the worker has said Hello or is gone: so long it takes a slot."""
        life = self.life
        async with self._around.slots:
            life.launching = True
            life.since = boot_seconds()
            try:
                spec = self._around.make_spec(self)
                process = await self._around.launcher.start(spec, self.policy.start_timeout)
            except Exception as error:  # noqa: BLE001 -- none may leave it starting for ever
                self._launch_failed(error)
                return
            life.process = process
            process.on_exit(lambda code: self._exited(life, code))
            self._around.log.info("worker_spawned", worker=self.name, pid=process.pid, incarnation=incarnation)
            self._around.observer.changed(self)
            if self.observed is Observed.STOPPING:  # asked to stop while the launcher was at work
                process.kill_tree()
            await life.started.wait()

    def _launch_failed(self, error: Exception) -> None:
        unexpected = None if isinstance(error, LaunchError) else error
        self._around.log.error("start_failed", worker=self.name, error=str(error), exc_info=unexpected)
        self.last_error = str(error)
        self._move(Event.START_FAILED)
        self._after_end("start")

    # ------------------------------------------------------------------ ending

    async def _restart(self, reason: str) -> None:
        self.wanted = False
        await self._bring_down(reason)
        if not self._retired:
            self.wanted = True
            self._begin(Event.START_REQUESTED)

    async def _bring_down(self, reason: str) -> None:
        self._cancel_timer()
        if self.observed is Observed.STOPPED:
            return
        dead = self.observed in (Observed.BACKOFF, Observed.EXHAUSTED)
        self._move(Event.STOP_REQUESTED)
        self._around.observer.changed(self)
        if dead:
            self._stopped.set()
            return
        process = self.life.process
        if process is None and not self.life.launching:
            self._leave_queue()
        elif process is None:
            pass  # killed as soon as the launcher hands it over
        elif not self.life.started.is_set():
            process.kill_tree()  # it has touched nothing yet
        else:
            self.command(lambda number: Stop(number, reason))
        try:
            await asyncio.wait_for(self._stopped.wait(), self.policy.stop_grace)
        except TimeoutError:
            self._around.log.error("stop_escalated", worker=self.name, after_seconds=self.policy.stop_grace)
            if self.life.process is not None:
                self.life.process.kill_tree()
            elif self.life.launching:
                self._around.launcher.interrupt()
            await self._stopped.wait()

    def _leave_queue(self) -> None:
        if self._launch is not None:
            self._launch.cancel()
        self._move(Event.START_FAILED)
        self._after_end("stop")

    def _exited(self, life: Life, code: int | None) -> None:
        if life is not self.life:
            return
        pid = life.process.pid if life.process else None
        cause = self._cause_of_exit(life)
        tell = self._around.log.info if cause == "stop" else self._around.log.warning
        tell("worker_exited", worker=self.name, pid=pid, exit_code=code, cause=cause, wanted=self.wanted)
        if life.stop_timer is not None:
            life.stop_timer.cancel()
        life.process = None
        life.started.set()
        self._around.control.forget(self.name)
        self._move(Event.EXITED)
        if self.observed is Observed.BACKOFF:
            said = life.heartbeat.last_error if life.heartbeat else ""
            self.last_error = life.crash or describe_exit(life.verdict, code, said)
        self._after_end(cause)

    def _cause_of_exit(self, life: Life) -> str:
        if life.verdict is not None:
            return life.verdict.cause
        if self.observed is Observed.STOPPING:
            return "stop"
        return "crash" if life.started.is_set() else "start"

    def _after_end(self, cause: str) -> None:
        if self.observed is Observed.BACKOFF:
            self._cause = cause
            self._around.observer.died(self, cause)
            self._plan()
        else:
            self._stopped.set()
        self._around.observer.changed(self)

    # ------------------------------------------------------------------ restarting

    def _plan(self) -> None:
        policy = RestartPolicy.of(self.policy)
        attempt = policy.next_attempt(self.restarts(), boot_seconds(), random.random())
        if attempt.exhausted:
            self._move(Event.BUDGET_SPENT)
            self._around.observer.exhausted(self)
        self._set_timer(attempt)

    def _set_timer(self, attempt: Attempt) -> None:
        self._cancel_timer()
        self.next_attempt = attempt
        delay = attempt.at - boot_seconds()
        if delay <= 0:
            self._attempt_due()
        else:
            self._timer = asyncio.get_running_loop().call_later(delay, self._attempt_due)

    def _attempt_due(self) -> None:
        attempt = self.next_attempt
        if attempt is None or self.observed not in (Observed.BACKOFF, Observed.EXHAUSTED):
            return
        if boot_seconds() < attempt.at:
            self._set_timer(attempt)
            return
        incarnation = self.incarnation
        self._begin(Event.ATTEMPT_DUE)
        if self.incarnation != incarnation:  # carried out, and only then spent
            self._around.history.record(self.name, self._cause)

    def _cancel_timer(self) -> None:
        self.next_attempt = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _move(self, event: Event) -> None:
        self.observed = next_state(self.observed, event)
        self.note_uptime()


def _raise_in_loop(task: asyncio.Task[None]) -> None:
    """Let an error that nobody awaits reach the loop's handler, which counts and logs it."""
    if not task.cancelled():
        task.result()
