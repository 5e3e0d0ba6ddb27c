"""ACTIVE, REDUCING, HALTED: what holds the portfolio back, since when, and who said so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from levibot.bus.messages import RiskState
from levibot.risk.memory import Latch, RiskMemory

KILL_SWITCH, DAILY_STOP = "kill_switch", "daily_stop"
AUTOMATIC = "risk"  # who did what no operator did

Audit = Callable[[str, str, str], None]
"""Called with the action, who did it, and why; it must not raise."""


@dataclass(frozen=True, slots=True)
class RiskStatus:
    """State of the portfolio, why, and since when (Unix ms)."""

    state: RiskState
    reason: str
    since_ms: int


class Stops:
    """Latches, which hold over restarts, and conditions, which end by themselves.

    * A condition, such as an unstable feed, keeps the portfolio REDUCING as long as it lasts.
    * The kill switch is REDUCING: entries are cancelled, stops stay, positions can be closed. Engaged with
      `flatten` it becomes HALTED once the positions are closed (`halt_after_flatten`).
    * The daily stop is HALTED until the next UTC day of event time, or until the operator resets the day.

    REDUCING and HALTED alike let orders through that shrink a position, and no other. HALTED says that
    nothing is left to do but wait.

    Parameters
    ----------
    memory
        Keeps the latches.
    wall_ms
        Unix time in milliseconds, for stamps that people read.
    audit
        Told of each latch that is set, changed or cleared.
    """

    def __init__(self, memory: RiskMemory, wall_ms: Callable[[], int], audit: Audit) -> None:
        self._memory = memory
        self._wall_ms = wall_ms
        self._audit = audit
        self._conditions: dict[str, str] = {}
        self.status = RiskStatus("ACTIVE", "", wall_ms())
        self._update()

    @property
    def latched(self) -> bool:
        """Whether anything is stopped that time or an operator, not the end of a trouble, must release."""
        return bool(self._memory.latches)

    @property
    def kill_switch(self) -> Latch | None:
        """The kill switch, if it is on."""
        return self._memory.latches.get(KILL_SWITCH)

    def set_condition(self, name: str, active: bool, reason: str = "") -> None:
        """Begin or end a condition that keeps the portfolio REDUCING."""
        if active:
            self._conditions[name] = reason
        else:
            self._conditions.pop(name, None)
        self._update()

    # ------------------------------------------------------------------ kill switch

    def engage_kill_switch(self, reason: str, who: str, *, flatten: bool = False) -> None:
        """Open nothing any more, over restarts too, until the operator releases it.

        The first reason of a switch that is on stays. `flatten` is remembered, over restarts too, and may be
        asked for later, and again for what came in after all was closed; what closes the positions is not here.
        """
        self._latch(KILL_SWITCH, reason, who)
        latch = self._memory.latches[KILL_SWITCH]
        if flatten and (latch.halted or not latch.flatten):
            anew = latch.model_copy(update={"flatten": True, "halted": False})
            self._change(anew, "kill_switch_flatten", who, reason)

    def halt_after_flatten(self) -> None:
        """Nothing is left to be closed: the kill switch is HALTED now. Harmless if no flattening was asked."""
        latch = self.kill_switch
        if latch is not None and latch.flatten and not latch.halted:
            self._change(latch.model_copy(update={"halted": True}), "halted", AUTOMATIC, "all is closed")

    def release_kill_switch(self, reason: str, who: str) -> None:
        """Undo `engage_kill_switch`; harmless if it is not engaged."""
        self._unlatch(KILL_SWITCH, reason, who)

    # ------------------------------------------------------------------ daily stop

    def stop_day(self, reason: str) -> None:
        """Too much was lost today."""
        self._latch(DAILY_STOP, reason, AUTOMATIC)

    def resume_day(self, reason: str, who: str = AUTOMATIC) -> None:
        """A new day, or the operator says so; harmless if the day was not stopped."""
        self._unlatch(DAILY_STOP, reason, who)

    # ------------------------------------------------------------------ the state

    def _latch(self, name: str, reason: str, who: str) -> None:
        if self._memory.latch(name, reason, who):
            self._audit(f"{name}_on", who, reason)
            self._update()

    def _unlatch(self, name: str, reason: str, who: str) -> None:
        if self._memory.unlatch(name):
            self._audit(f"{name}_off", who, reason)
            self._update()

    def _change(self, latch: Latch, action: str, who: str, reason: str) -> None:
        self._memory.change_latch(KILL_SWITCH, latch)
        self._audit(action, who, reason)
        self._update()

    def _update(self) -> None:
        latches = self._memory.latches
        halting = [latch for name, latch in latches.items() if name == DAILY_STOP or latch.halted]
        state: RiskState = "HALTED" if halting else "REDUCING" if latches or self._conditions else "ACTIVE"
        causes = {name: latch.reason for name, latch in latches.items()}
        if not halting:
            causes |= self._conditions
        if latches:
            since = round(min(latch.since.timestamp() for latch in halting or latches.values()) * 1000)
        else:
            since = self.status.since_ms if state == self.status.state else self._wall_ms()
        self.status = RiskStatus(state, "; ".join(f"{name}: {reason}" for name, reason in causes.items()), since)
