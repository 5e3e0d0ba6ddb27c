"""What the status says of sentiment that an engine has not."""

from __future__ import annotations

from typing import Any

import pytest

from levibot.config import Config
from levibot.supervisor.status import explain_sentiment

NEWS = {"news": {"enabled": True, "feeds": ["https://news.example/rss"], "scorer": "vader"}}


@pytest.mark.parametrize(
    ("trouble", "settings", "told"),
    [
        ("none yet", {}, "absent: [altdata.news] is not enabled"),
        ("75 min old", {"feed": {"source": "ccxt"}}, "75 min old"),  # news was enabled when it came
        ("none yet", {"altdata": NEWS}, "this market's time is not now"),
        ("fetched after this bar opened", {"altdata": NEWS}, "this market's time is not now"),
        ("none yet", {"altdata": NEWS, "feed": {"source": "ccxt"}}, "none yet"),
    ],
)
def test_why_there_is_no_sentiment_is_told_by_the_configuration_in_force(
    trouble: str, settings: dict[str, Any], told: str
) -> None:
    config = Config.model_validate({"symbols": ["BTC/USDT"], **settings})
    components = {"sentiment": {"probability": None, "source": "", "trouble": trouble, "configured": True}}
    explain_sentiment(components, config)
    assert components["sentiment"]["trouble"] == told
    assert components["sentiment"]["configured"] is not told.startswith("absent")


def test_a_sentiment_that_counts_is_left_alone() -> None:
    components = {"sentiment": {"probability": 0.5, "source": "news", "trouble": ""}}
    explain_sentiment(components, Config.model_validate({"symbols": ["BTC/USDT"]}))
    assert components["sentiment"]["trouble"] == ""
