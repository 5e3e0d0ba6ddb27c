"""Sources of alternative data as people see them."""

from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console

from levibot.cli.altdata_view import altdata_view


@pytest.mark.parametrize(
    ("ok", "failures", "state"), [(True, {}, "ok"), (False, {}, "none"), (False, {"http": 2}, "failing")]
)
def test_what_never_failed_is_not_failing(ok: bool, failures: dict[str, int], state: str) -> None:
    source: dict[str, Any] = {
        "ok": ok,
        "age_seconds": None,
        "values": 0,
        "fetches": 0,
        "failures": failures,
        "requests": 0,
        "next_s": 0.0,
        "trouble": "",
    }
    console = Console(width=200)
    with console.capture() as drawn:
        console.print(altdata_view({"sources": {"funding": source}, "values": [], "trouble": ""}))
    (line,) = [line for line in drawn.get().splitlines() if "funding" in line]
    assert line.split()[1] == state
    assert "0s" not in line, "nothing is known of a next fetch"
