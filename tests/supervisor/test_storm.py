"""When deaths of engines are one crash storm."""

from __future__ import annotations

import pytest

from levibot.supervisor.storm import SECONDS, DeathWindow


@pytest.mark.parametrize(
    ("died", "engines", "storm"),
    [
        ("AAAAA", 2, False),
        ("AAAAA", 1, False),
        ("AB", 2, True),
        ("AB", 5, False),
        ("ABAB", 5, False),
        ("ABC", 5, True),
        ("ABCDE", 15, True),
    ],
)
def test_a_storm_is_made_of_different_engines(died: str, engines: int, storm: bool) -> None:
    window = DeathWindow()
    for second, engine in enumerate(died):
        window.note(engine, second / 2)
    assert window.storm(engines, len(died) / 2) is storm


def test_engines_are_counted_once_and_only_of_late() -> None:
    window = DeathWindow()
    for at, engine in [(0.0, "A"), (1.0, "B"), (2.0, "B")]:
        window.note(engine, at)
    assert window.engines(2.0) == 2
    assert window.engines(SECONDS) == 1
    assert window.engines(2.0 + SECONDS) == 0
