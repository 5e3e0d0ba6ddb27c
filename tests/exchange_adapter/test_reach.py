"""When an exchange counts as away, and how often it is asked then."""

from __future__ import annotations

from levibot.exchange.reach import Reach


class Clock:
    now_s = 0.0

    def __call__(self) -> int:
        return int(self.now_s * 1e9)


def test_three_requests_without_an_answer_lose_it_and_one_answer_finds_it() -> None:
    reach = Reach(Clock())
    for _ in range(2):
        reach.unanswered("refused")
        assert not reach.is_lost
    reach.unanswered("timed out")
    assert (reach.is_lost, reach.cause, reach.returns) == (True, "timed out", 0)
    reach.answered()
    assert (reach.is_lost, reach.cause, reach.returns) == (False, "", 1)
    reach.answered()
    assert reach.returns == 1


def test_the_pauses_grow_to_five_seconds_and_are_short_again_after_an_answer() -> None:
    clock = Clock()
    reach = Reach(clock)
    pauses = []
    for _ in range(5):
        assert reach.is_due
        reach.unanswered("refused")
        reach.unanswered("refused")  # under way at the same time
        began_s = clock.now_s
        while not reach.is_due:
            clock.now_s += 0.5
        pauses.append(clock.now_s - began_s)
    assert pauses == [1.0, 2.0, 4.0, 5.0, 5.0]
    reach.answered()
    reach.unanswered("refused")
    clock.now_s += 1.0
    assert reach.is_due
