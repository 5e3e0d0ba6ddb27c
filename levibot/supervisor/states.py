"""The states of a worker and what may follow, in one table."""

from __future__ import annotations

from enum import StrEnum

from levibot.errors import GiveUpError


class Desired(StrEnum):
    """What the operator wants; durable."""

    UP = "up"
    DOWN = "down"


class Observed(StrEnum):
    """What a worker is."""

    STOPPED = "stopped"
    STARTING = "starting"  # a start is queued or in flight, no Hello yet
    RUNNING = "running"
    STOPPING = "stopping"
    BACKOFF = "backoff"  # dead; the time of the next attempt is known
    EXHAUSTED = "exhausted"  # dead; no restart is left in the window


class Event(StrEnum):
    """What happens to a worker."""

    START_REQUESTED = "start_requested"  # by the operator, or at the start of the supervisor
    STARTED = "started"  # its Hello arrived
    START_FAILED = "start_failed"  # no process came of it
    EXITED = "exited"  # its pidfd has spoken
    STOP_REQUESTED = "stop_requested"
    ATTEMPT_DUE = "attempt_due"
    BUDGET_SPENT = "budget_spent"
    RESET = "reset"  # the operator cleared the restart history


class IllegalTransitionError(GiveUpError):
    """The event may not happen in this state.

    Parameters
    ----------
    state, event
        The pair that is not in the table.
    """

    def __init__(self, state: Observed, event: Event) -> None:
        super().__init__(f"{event} may not happen to a worker that is {state}")
        self.state = state
        self.event = event


TRANSITIONS: dict[tuple[Observed, Event], Observed] = {
    (Observed.STOPPED, Event.START_REQUESTED): Observed.STARTING,
    (Observed.STARTING, Event.STARTED): Observed.RUNNING,
    (Observed.STARTING, Event.START_FAILED): Observed.BACKOFF,
    (Observed.STARTING, Event.EXITED): Observed.BACKOFF,
    (Observed.STARTING, Event.STOP_REQUESTED): Observed.STOPPING,
    (Observed.RUNNING, Event.EXITED): Observed.BACKOFF,
    (Observed.RUNNING, Event.STOP_REQUESTED): Observed.STOPPING,
    (Observed.STOPPING, Event.STARTED): Observed.STOPPING,  # its Hello was under way when the stop came
    (Observed.STOPPING, Event.START_FAILED): Observed.STOPPED,
    (Observed.STOPPING, Event.EXITED): Observed.STOPPED,
    (Observed.STOPPING, Event.STOP_REQUESTED): Observed.STOPPING,
    (Observed.BACKOFF, Event.ATTEMPT_DUE): Observed.STARTING,
    (Observed.BACKOFF, Event.START_REQUESTED): Observed.STARTING,
    (Observed.BACKOFF, Event.STOP_REQUESTED): Observed.STOPPED,
    (Observed.BACKOFF, Event.BUDGET_SPENT): Observed.EXHAUSTED,
    (Observed.EXHAUSTED, Event.ATTEMPT_DUE): Observed.STARTING,  # the oldest restart has left the window
    (Observed.EXHAUSTED, Event.START_REQUESTED): Observed.STARTING,
    (Observed.EXHAUSTED, Event.STOP_REQUESTED): Observed.STOPPED,
    (Observed.EXHAUSTED, Event.RESET): Observed.BACKOFF,  # the next attempt is then due at once
    (Observed.STOPPED, Event.RESET): Observed.STOPPED,
    (Observed.STARTING, Event.RESET): Observed.STARTING,
    (Observed.RUNNING, Event.RESET): Observed.RUNNING,
    (Observed.STOPPING, Event.RESET): Observed.STOPPING,
    (Observed.BACKOFF, Event.RESET): Observed.BACKOFF,
}


def next_state(state: Observed, event: Event) -> Observed:
    """State of a worker after `event`.

    Raises
    ------
    IllegalTransitionError
        If the event may not happen in `state`.
    """
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise IllegalTransitionError(state, event) from None


def status_word(observed: Observed, *, paused: bool, ready: bool) -> str:
    """Word of the HTTP interface for a worker.

    Parameters
    ----------
    observed
        What the worker is.
    paused
        It opens no new risk; told only of a worker that runs and is ready.
    ready
        It holds its fence, is reconciled and has its history; until then it is starting.
    """
    match observed:
        case Observed.RUNNING if not ready:
            return "starting"
        case Observed.RUNNING:
            return "paused" if paused else "running"
        case Observed.BACKOFF:
            return "crashed"
        case _:
            return str(observed)


STATUS_WORDS = ("stopped", "starting", "waiting", "running", "paused", "stopping", "crashed", "exhausted")


def exact_word(observed: Observed, *, paused: bool, ready: bool) -> str:
    """One of `STATUS_WORDS`: as `status_word`, but a process that runs and is not ready is waiting."""
    if observed is Observed.RUNNING and not ready:
        return "waiting"
    return status_word(observed, paused=paused, ready=ready)
