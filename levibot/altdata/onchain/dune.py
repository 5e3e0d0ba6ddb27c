"""Dune: newest results of the user's own queries, read and not run.

https://docs.dune.com/api-reference/executions/endpoint/get-query-result. The forms are those of `dune-client`;
what that asks with reads answers of any size, knows no Retry-After and logs what comes, so the asking is ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

from dune_client.models import ExecutionState, ResultsResponse

from levibot.altdata.http import HttpClient
from levibot.altdata.keys import ProviderKey
from levibot.altdata.numbers import checked_number
from levibot.altdata.source import Reading, Usage, fetch_parts
from levibot.config_altdata import DuneConfig
from levibot.errors import AltDataError

_ROWS = 1000  # a query gives one row for each asset


class Dune:
    """The value of each asset in the newest result of each query.

    Parameters
    ----------
    config
        Section ``[altdata.dune]``.
    http
        Asks its ``url``; closed with the source.
    key
        Read before each fetch.
    """

    name = "dune"

    def __init__(self, config: DuneConfig, http: HttpClient, key: ProviderKey) -> None:
        self.interval, self.max_age = config.interval, config.max_age
        self._config = config
        self._http = http
        self._key = key

    @property
    def usage(self) -> Usage:
        """See `AltSource`."""
        return self._http.usage

    async def fetch(self, assets: Sequence[str], now_ms: int) -> list[Reading]:
        """See `AltSource`."""
        headers = {"X-Dune-Api-Key": self._key.read()}
        queries = self._config.queries.items()
        return await fetch_parts(partial(self._query, name, query, headers, assets) for name, query in queries)

    async def _query(
        self, name: str, query: int, headers: Mapping[str, str], assets: Sequence[str]
    ) -> list[Reading]:
        path = f"/api/v1/query/{query}/results"
        answer = await self._http.get(path, dict[str, Any], params={"limit": str(_ROWS)}, headers=headers)
        return self._read(name, query, answer, assets)

    def _read(self, name: str, query: int, answer: dict[str, Any], assets: Sequence[str]) -> list[Reading]:
        try:
            result = ResultsResponse.from_dict(answer)
            ended, rows = result.times.execution_ended_at, result.result.rows if result.result else []
        except (KeyError, TypeError, ValueError, AssertionError, AttributeError, OverflowError) as error:
            problem = f"query {query} is answered with something else ({type(error).__name__})"
            raise AltDataError(f"{self.name}: {problem}") from None
        if result.state is not ExecutionState.COMPLETED or ended is None:
            raise AltDataError(
                f"{self.name}: query {query} has no whole result ({result.state.value}); run it on Dune, and "
                "give it a schedule",
                "stale",
            )
        observed_ms = int(_in_utc(ended).timestamp() * 1000)
        values: dict[str, float] = {}
        for row in rows:
            asset = self._asset(query, row, len(rows))
            if asset in values:
                raise AltDataError(f"{self.name}: query {query} has more than one row of {asset or 'the market'}")
            if asset == "" or asset in assets:
                column = self._config.value_column
                values[asset] = checked_number(self.name, f"{column} of query {query}", row.get(column))
        return [Reading(asset, name, value, observed_ms) for asset, value in values.items()]

    def _asset(self, query: int, row: object, rows: int) -> str:
        if not isinstance(row, dict):
            raise AltDataError(f"{self.name}: query {query} has a row that is none")
        column = self._config.asset_column
        written = row.get(column)
        if written is None and rows == 1:
            return ""
        if not isinstance(written, str):
            raise AltDataError(f"{self.name}: query {query} has a row without text in its column {column!r}")
        return written.strip().upper()

    async def close(self) -> None:
        """See `AltSource`."""
        await self._http.close()


def _in_utc(time: datetime) -> datetime:
    return time if time.tzinfo else time.replace(tzinfo=UTC)
