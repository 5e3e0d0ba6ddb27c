"""Time in service, added up between transitions."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from levibot.supervisor.uptime import Uptime


def play(*notes: tuple[float, bool, bool]) -> tuple[float, float]:
    uptime = Uptime()
    for now, ready, wanted in notes:
        uptime.note(now, ready=ready, wanted=wanted)
    return uptime.ready_seconds, uptime.down_seconds


def test_a_death_and_its_restart_count_as_down() -> None:
    assert play((0, True, True), (90, False, True), (90.5, True, True), (100, True, True)) == (99.5, 0.5)


def test_nothing_counts_before_it_was_first_ready() -> None:
    assert play((0, False, True), (30, True, True), (40, True, True)) == (10, 0)


def test_what_the_operator_stopped_is_not_down() -> None:
    assert play((0, True, True), (10, False, False), (500, False, True), (501, True, True)) == (10, 1)


steps = st.lists(st.tuples(st.floats(0, 1000), st.booleans(), st.booleans()), max_size=30)


@given(steps)
def test_both_together_are_the_time_since_it_was_first_ready_and_wanted(
    steps: list[tuple[float, bool, bool]],
) -> None:
    notes, now, first, unwanted = [], 0.0, None, 0.0
    for seconds, ready, wanted in steps:
        if first is not None and notes and not notes[-1][1] and not notes[-1][2]:
            unwanted += seconds
        now += seconds
        notes.append((now, ready, wanted))
        first = now if ready and first is None else first
    total = sum(play(*notes))
    assert abs(total - ((now - first - unwanted) if first is not None else 0.0)) < 1e-6
