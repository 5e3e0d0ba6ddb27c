"""The history of what served: what took effect, and where a rollback goes."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from hypothesis import given
from hypothesis import strategies as st

from levibot.ml.served import HISTORY, Change, Pruned, append_entries, read_changes, read_entries, served_before


def change(version: str, previous: str, action: Literal["promote", "rollback"] = "promote") -> Change:
    return Change(at_ms=1, at_utc="", action=action, version=version, previous=previous)


def test_what_a_crash_kept_from_taking_effect_is_left_out(tmp_path: Path) -> None:
    for version, previous in (("a", ""), ("lost", "a"), ("b", "a"), ("lost too", "b")):
        append_entries(tmp_path, change(version, previous))
    assert [c.version for c in read_changes(tmp_path, "b")[0]] == ["a", "b"]
    append_entries(tmp_path, change("c", "b"))
    assert [c.version for c in read_changes(tmp_path, "c")[0]] == ["a", "b", "c"]


def test_a_line_that_was_cut_short_spoils_no_other(tmp_path: Path) -> None:
    assert read_changes(tmp_path, "") == ([], 0)
    append_entries(tmp_path, change("a", ""))
    with (tmp_path / HISTORY).open("ab") as file:
        file.write(b'{"at_ms":12,"ver')
    append_entries(tmp_path, change("b", "a"))
    found, damaged = read_changes(tmp_path, "b")
    assert ([c.version for c in found], damaged) == (["a", "b"], 1)


def test_what_was_removed_stands_between_the_changes_and_is_none(tmp_path: Path) -> None:
    gone = Pruned(at_ms=1, at_utc="", version="a", test_from_ms=1, test_until_ms=2, digests=("x",))
    append_entries(tmp_path, change("a", ""), change("lost", "a"), gone, change("b", "a"), gone)
    assert [c.version for c in read_changes(tmp_path, "b")[0]] == ["a", "b"]
    assert read_entries(tmp_path, "b") == ([change("a", ""), gone, change("b", "a"), gone], 0)


@given(st.lists(st.one_of(st.just("back"), st.sampled_from("abcd"))))
def test_rollbacks_undo_promotions_one_by_one(steps: list[str]) -> None:
    changes: list[Change] = []
    undone: list[str] = []  # what a stack of promotions says
    current = ""
    for step in steps:
        if step == "back":
            if not undone:
                continue
            changes.append(change(undone[-1], current, "rollback"))
            current = undone.pop()
        elif step != current:
            changes.append(change(step, current))
            undone += [current] if current else []
            current = step
    assert served_before(changes) == undone[::-1]
