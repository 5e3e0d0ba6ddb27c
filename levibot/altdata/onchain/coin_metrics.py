"""Coin Metrics, API v4: daily network metrics. The community tier needs no key, and has some metrics alone.

https://docs.coinmetrics.io/api-reference/timeseries/timeseries-rest/asset-metrics
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from levibot.altdata.http import HttpClient
from levibot.altdata.numbers import checked_number, unix_ms
from levibot.altdata.source import Reading, Usage
from levibot.config_altdata import CoinMetricsConfig
from levibot.errors import AltDataError

_DAYS = 30  # whose mean the newest is compared with
_LAG_DAYS = 3  # the metrics of a day are not complete all at the same hour
_FEWEST_DAYS = 25  # of these that must be there
_DAY_MS = 86_400_000
_NEVER_BELOW_ZERO = ("Cnt", "Flow", "Fee", "HashRate", "Sply", "Cap", "Price", "Diff")  # parts of metric names


class _Answer(msgspec.Struct):
    data: list[dict[str, str | int | float | None]]


class CoinMetrics:
    """Newest value of each metric of each asset that Coin Metrics knows, and its distance from a month's mean.

    Parameters
    ----------
    config
        Section ``[altdata.coin_metrics]``.
    http
        Asks its ``url``; closed with the source.
    """

    name = "coin-metrics"

    def __init__(self, config: CoinMetricsConfig, http: HttpClient) -> None:
        self.interval, self.max_age = config.interval, config.max_age
        self._names = {metric: name for name, metric in config.metrics.items()}
        self._http = http

    @property
    def usage(self) -> Usage:
        """See `AltSource`."""
        return self._http.usage

    async def fetch(self, assets: Sequence[str], now_ms: int) -> list[Reading]:
        """See `AltSource`."""
        known = {asset.lower(): asset for asset in assets if asset}
        answer = await self._http.get(
            "/timeseries/asset-metrics",
            _Answer,
            params={
                "assets": ",".join(known),
                "metrics": ",".join(self._names),
                "frequency": "1d",
                "limit_per_asset": str(_DAYS + _LAG_DAYS),
                "page_size": str((_DAYS + _LAG_DAYS) * len(known)),
                "paging_from": "end",
                "ignore_unsupported_errors": "true",  # of each asset what there is
                "ignore_forbidden_errors": "true",  # what the community tier lacks is missing
            },
        )
        days: dict[tuple[str, str], dict[int, float]] = defaultdict(dict)
        for row in answer.data:
            for reading in self._read(row, known):
                days[reading.asset, reading.name][reading.observed_ms] = reading.value
        if not days:
            raise AltDataError(f"{self.name}: has none of these metrics of {', '.join(assets)}", "refused")
        return [reading for (asset, name), values in days.items() for reading in _newest(asset, name, values)]

    def _read(self, row: Mapping[str, Any], known: Mapping[str, str]) -> list[Reading]:
        asset = known.get(str(row.get("asset")))
        if asset is None:
            raise AltDataError(
                f"{self.name}: answers about {str(row.get('asset'))[:20]!r}, which was not asked for"
            )
        observed_ms = unix_ms(self.name, row.get("time"))
        return [
            Reading(asset, name, checked_number(self.name, metric, row[metric], _least(metric)), observed_ms)
            for metric, name in self._names.items()
            if row.get(metric) is not None  # not complete yet, or not had
        ]

    async def close(self) -> None:
        """See `AltSource`."""
        await self._http.close()


def _newest(asset: str, name: str, days: Mapping[int, float]) -> Iterator[Reading]:
    """The value of the newest day, and how far it is from the mean of the days up to it."""
    newest_ms = max(days)
    yield Reading(asset, name, days[newest_ms], newest_ms)
    month = [value for at_ms, value in days.items() if at_ms > newest_ms - _DAYS * _DAY_MS]
    mean = sum(month) / len(month)
    if len(month) >= _FEWEST_DAYS and mean > 0:
        yield Reading(asset, f"{name}_change", days[newest_ms] / mean - 1, newest_ms)


def _least(metric: str) -> float | None:
    return 0.0 if any(part in metric for part in _NEVER_BELOW_ZERO) and "Net" not in metric else None
