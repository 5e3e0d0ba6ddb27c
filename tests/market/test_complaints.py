"""One line for one cause."""

from __future__ import annotations

from levibot.market.complaints import Complaints


def test_a_cause_is_told_once_and_again_when_it_has_changed_has_ended_or_lasts_long() -> None:
    now_s = 0.0
    complaints = Complaints(lambda: int(now_s * 1e9))
    assert complaints.is_news("probe", "refused")
    assert complaints.is_news("recovery", "refused")
    assert complaints.is_news("probe", "nothing is sent for 17 s")
    assert not complaints.is_news("probe", "nothing is sent for 16 s")
    now_s = 30.0
    complaints.end("probe")
    assert not complaints.is_news("probe", "refused"), "it flutters"
    now_s = 100.0
    complaints.end("probe")
    assert complaints.is_news("probe", "refused")
    assert not complaints.is_news("recovery", "refused")
    now_s = 601.0
    assert complaints.is_news("recovery", "refused")
