"""Client ids can be read back, and fit every exchange."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from levibot.bus.messages import Role
from levibot.execution.ids import ClientId, is_valid, new_generation

_ROLES: list[Role] = ["entry", "exit", "stop", "take_profit", "emergency"]


@given(st.integers(0, 36**12 - 1), st.sampled_from(_ROLES))
def test_an_id_is_read_back_and_is_short_enough(sequence: int, role: Role) -> None:
    made = ClientId("a1B2", new_generation(), sequence, role)
    assert ClientId.parse(str(made)) == made
    assert is_valid(str(made))


def test_other_texts_are_no_ids_of_ours() -> None:
    assert ClientId.parse("x-web-order-1") is None
    assert not is_valid("")
    assert not is_valid("a" * 33)
    assert not is_valid("a b")
