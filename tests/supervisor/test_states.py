"""The transition table, pair by pair."""

from __future__ import annotations

from itertools import product

import pytest

from levibot.supervisor.states import (
    TRANSITIONS,
    Desired,
    Event,
    IllegalTransitionError,
    Observed,
    next_state,
    status_word,
)

# One row for each state, one column for each event; "-" may not be.
TABLE = """
            start_requested started start_failed exited  stop_requested attempt_due budget_spent reset
stopped     starting        -       -            -       -              -           -            stopped
starting    -               running backoff      backoff stopping       -           -            starting
running     -               -       -            backoff stopping       -           -            running
stopping    -               stopping stopped     stopped stopping       -           -            stopping
backoff     starting        -       -            -       stopped        starting    exhausted    backoff
exhausted   starting        -       -            -       stopped        starting    -            backoff
"""
HEAD, *ROWS = [line.split() for line in TABLE.strip().splitlines()]
PAIRS = [
    (Observed(row[0]), Event(event), None if following == "-" else Observed(following))
    for row in ROWS
    for event, following in zip(HEAD, row[1:], strict=True)
]


def test_the_table_covers_every_pair() -> None:
    assert {(state, event) for state, event, _ in PAIRS} == set(product(Observed, Event))


@pytest.mark.parametrize(("state", "event", "following"), PAIRS, ids=str)
def test_transition(state: Observed, event: Event, following: Observed | None) -> None:
    if following is None:
        with pytest.raises(IllegalTransitionError, match=f"{event} may not happen .* {state}") as caught:
            next_state(state, event)
        assert (caught.value.state, caught.value.event) == (state, event)
    else:
        assert next_state(state, event) is following


def test_every_state_can_be_reached_and_left() -> None:
    reached = {following for (state, _), following in TRANSITIONS.items() if following is not state}
    left = {state for (state, _), following in TRANSITIONS.items() if following is not state}
    assert reached == left == set(Observed)


def test_a_worker_is_stopped_from_every_state_in_which_it_lives_or_may_come_back() -> None:
    for state in set(Observed) - {Observed.STOPPED}:
        following = next_state(state, Event.STOP_REQUESTED)
        if following is Observed.STOPPING:
            following = next_state(following, Event.EXITED)
        assert following is Observed.STOPPED


@pytest.mark.parametrize(
    ("observed", "paused", "ready", "word"),
    [
        (Observed.STOPPED, False, False, "stopped"),
        (Observed.STOPPED, True, False, "stopped"),
        (Observed.STARTING, False, False, "starting"),
        (Observed.STARTING, True, False, "starting"),
        (Observed.RUNNING, False, False, "starting"),
        (Observed.RUNNING, True, False, "starting"),
        (Observed.RUNNING, False, True, "running"),
        (Observed.RUNNING, True, True, "paused"),
        (Observed.STOPPING, False, True, "stopping"),
        (Observed.STOPPING, True, True, "stopping"),
        (Observed.BACKOFF, False, False, "crashed"),
        (Observed.BACKOFF, True, True, "crashed"),
        (Observed.EXHAUSTED, False, False, "exhausted"),
        (Observed.EXHAUSTED, True, True, "exhausted"),
    ],
)
def test_status_word(observed: Observed, paused: bool, ready: bool, word: str) -> None:
    assert status_word(observed, paused=paused, ready=ready) == word


def test_desired_states_are_the_words_of_the_registry() -> None:
    assert [str(desired) for desired in Desired] == ["up", "down"]
