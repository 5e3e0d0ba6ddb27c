"""A close that is replaced leaves nothing behind of what stood there before."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from levibot.market.rewind import Rewindable

KEPT = 4
MINUTE_MS = 60_000


class Seen:
    """Remembers everything: the strictest state there is."""

    def __init__(self) -> None:
        self.closes: list[tuple[int, float]] = []

    def add(self, open_ms: int, close: float) -> None:
        self.closes.append((open_ms, close))


@given(
    closes=st.lists(st.sampled_from([1.0, 2.0, 3.0]), min_size=1, max_size=12),
    corrections=st.lists(
        st.tuples(st.integers(0, 14), st.integers(0, 14), st.sampled_from([1.0, 5.0])), max_size=6
    ),
)
def test_the_state_is_that_of_the_right_closes(
    closes: list[float], corrections: list[tuple[int, int, float]]
) -> None:
    state, expected = Rewindable(Seen(), KEPT), Seen()
    for number, close in enumerate(closes):
        state.add(number * MINUTE_MS, close)
        expected.add(number * MINUTE_MS, close)
        for when, bar, right in corrections:
            if when == number:
                state.replace(bar * MINUTE_MS, right)
                if number - KEPT < bar <= number:
                    expected.closes[bar] = (bar * MINUTE_MS, right)
        assert state.now.closes == expected.closes
