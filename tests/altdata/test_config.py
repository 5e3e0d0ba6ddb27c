"""What the configuration of alternative data refuses, and says why."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from levibot.config_altdata import AltDataConfig, CoinMetricsConfig, MempoolConfig, NewsConfig

NEWS = {"enabled": True, "feeds": ["http://127.0.0.1/feed"]}


def dune(**queries: int) -> dict[str, Any]:
    return {"enabled": True, "queries": queries}


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"dune": dune(sentiment=1), "news": NEWS}, "dune and news both tell sentiment"),
        ({"coin_metrics": {"enabled": True, "metrics": {"a": "A", "a_change": "B"}}}, "both tell a_change"),
        ({"dune": dune(market_sentiment=1)}, "of what concerns the market"),
    ],
)
def test_each_value_has_one_source(sections: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        AltDataConfig.model_validate(sections)


def test_a_source_that_is_not_asked_takes_no_name() -> None:
    config = AltDataConfig.model_validate({"dune": dune(exchange_inflow=1), "mempool": {"enabled": True}})
    assert config.enabled


def test_all_sources_go_together() -> None:
    others = {name: {"enabled": True} for name in ("coin_metrics", "mempool", "funding")}
    assert AltDataConfig.model_validate({**others, "news": NEWS, "dune": dune(netflow=1)}).enabled
    assert not AltDataConfig().enabled


@pytest.mark.parametrize("names", [{"PEPE": [""]}, {"PEPE": [" "]}, {"pepe": ["pepe coin"]}])
def test_names_that_are_in_every_headline_or_of_no_asset_are_refused(names: dict[str, list[str]]) -> None:
    with pytest.raises(ValidationError, match="names"):
        NewsConfig.model_validate({"names": names})


def test_a_metric_has_one_name() -> None:
    with pytest.raises(ValidationError, match="each metric once"):
        CoinMetricsConfig(metrics={"a": "TxCnt", "b": "TxCnt"})


def test_a_provider_is_not_asked_all_the_time() -> None:
    with pytest.raises(ValidationError, match="greater than or equal to 10"):
        MempoolConfig(interval=1)
