"""Lockstep: one event at a time, the next only when all who take part have dealt with it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container, Iterable, Sequence

from levibot.bus.messages import Acknowledge, JoinLockstep
from levibot.clock import boot_ns
from levibot.market.playback import Over, Playback
from levibot.market.recording import Opening, Recording
from levibot.market.source import LockstepMessage, Publish, Step

COMMON_PARTICIPANTS = ("broker", "risk")
_JOIN_PAUSE = 0.1  # seconds


class Gate:
    """Who takes part, and who has yet to acknowledge the present step. Knows no clock."""

    def __init__(self) -> None:
        self._joined: dict[str, frozenset[str]] = {}  # participant → its symbols; none: all
        self._step: Step | None = None
        self._waiting: set[str] = set()

    @property
    def waiting(self) -> frozenset[str]:
        """Participants that have yet to acknowledge."""
        return frozenset(self._waiting)

    @property
    def empty(self) -> bool:
        """Whether nobody takes part."""
        return not self._joined

    def join(self, participant: str, symbols: Iterable[str]) -> None:
        """Take part from the next step on.

        Whoever joins anew has lost what it was doing: the present step counts as acknowledged.
        """
        self._joined[participant] = frozenset(symbols)
        self._waiting.discard(participant)

    def leave(self, participant: str) -> None:
        """Take part no longer."""
        self._joined.pop(participant, None)
        self._waiting.discard(participant)

    def begin(self, step: Step) -> None:
        """A step was published: wait for those who joined for its symbol."""
        self._step = step
        self._waiting = {
            participant for participant, symbols in self._joined.items() if not symbols or step.symbol in symbols
        }

    def acknowledge(self, message: Acknowledge) -> None:
        """Note an acknowledgement; one of another step means nothing."""
        if self._step == (message.symbol, message.kind, message.seq):
            self._waiting.discard(message.participant)

    def missing(self, symbols: Iterable[str]) -> list[str]:
        """Whose joining is still expected: broker, risk, and an engine for each of `symbols`."""
        engines = [joined for name, joined in self._joined.items() if name not in COMMON_PARTICIPANTS]
        return [
            *(name for name in COMMON_PARTICIPANTS if name not in self._joined),
            *(f"engine of {symbol}" for symbol in symbols if not any(symbol in joined for joined in engines)),
        ]


class LockstepPlayback(Playback):
    """A recording as a `Source` that waits for everybody.

    Parameters
    ----------
    recording, symbols, opening, position_ms, over, watched
        As of `Playback`.
    report
        Called with a text about each participant that was dropped or never came.
    repeat
        Publishes the present step again.
    deadline, repeat_after
        Seconds: until a participant is dropped; until an unacknowledged step is published again, for a
        participant whose subscription was not yet known to the publisher.
    """

    def __init__(
        self,
        recording: Recording,
        symbols: Sequence[str],
        opening: Opening,
        position_ms: int | None,
        report: Callable[[str], None],
        repeat: Callable[[], None],
        over: Over,
        watched: Container[str] = (),
        *,
        deadline: float = 30.0,
        repeat_after: float = 1.0,
    ) -> None:
        super().__init__(recording, symbols, opening, position_ms, 1.0, over, watched)
        self.gate = Gate()
        self._report = report
        self._repeat = repeat
        self._deadline_ns = int(deadline * 1e9)
        self._repeat_after = repeat_after
        self._free = asyncio.Event()  # nobody is waited for any more

    def heed(self, message: LockstepMessage) -> None:
        """Take note of what a participant says."""
        if isinstance(message, Acknowledge):
            self.gate.acknowledge(message)
        elif isinstance(message, JoinLockstep):
            self.gate.join(message.participant, message.symbols)
        else:
            self.gate.leave(message.participant)
        if not self.gate.waiting:
            self._free.set()

    async def run(self, publish: Publish) -> None:
        """Publish one event after the other, until cancelled; the market stands still while nobody takes part."""
        await self._wait_for_all()
        while True:
            next_ms = self.timeline.next_ms
            if next_ms is None or self.gate.empty:
                await self._wait(_JOIN_PAUSE)
                continue
            self._position_ms = next_ms - 1  # others may have an event at the same time
            _, symbol, item = self.timeline.pop()
            step = publish(symbol, next_ms, item)
            self._note(symbol, item)
            if step is not None:
                self.gate.begin(step)
                await self._finish_step()
            await asyncio.sleep(0)  # a step that nobody joined for must not keep the loop to itself

    async def _wait_for_all(self) -> None:
        deadline_ns = boot_ns() + self._deadline_ns
        while self.gate.missing(self._traded) or not self._traded:
            if boot_ns() >= deadline_ns and self._traded:
                self._report(f"begins without {', '.join(self.gate.missing(self._traded))}")
                return
            if not await self._wait(_JOIN_PAUSE):
                self._repeat()  # a feed that has started again must be noticed before its first step

    async def _finish_step(self) -> None:
        deadline_ns = boot_ns() + self._deadline_ns
        while self.gate.waiting:
            if await self._wait(self._repeat_after):
                continue
            if boot_ns() < deadline_ns:
                self._repeat()
                continue
            for participant in sorted(self.gate.waiting):
                self.gate.leave(participant)
                self._report(f"dropped {participant}: no acknowledgement in time")

    async def _wait(self, seconds: float) -> bool:
        """Wait until nobody is waited for; False if that takes longer than `seconds`."""
        self._free.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._free.wait()
        except TimeoutError:
            return False
        return True
