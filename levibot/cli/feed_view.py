"""The feed for people: its markets, the exchange that a live source streams from, and the recorder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from levibot.cli.fitting_table import FittingTable
from levibot.market.states import FAILED

Entry = Mapping[str, Any]

_NESTED = ("markets", "live", "recorder")
_COUNTS = {
    "lag": "lag_ms",
    "trades": "trades",
    "twice": "duplicates",
    "books": "books",
    "stale": "stales",
    "gaps": "gaps",
    "renewed": "renewals",
    "malformed": "malformed",
    "corrected": "corrections",
    "read later": "backfilled",
    "synthetic": "synthetic",
}
_LEFT_OUT_FIRST = (
    "books",
    "read later",
    "twice",
    "synthetic",
    "renewed",
    "trades",
    "malformed",
    "corrected",
    "gaps",
)
_STYLES = {"live": "green", "opening": "yellow", "ended": "dim"}


def market_state(word: str | None) -> Text:
    """State of one market in the feed's words."""
    return Text(word or "–", style=_STYLES.get(word, "red") if word else "")


def brief_market_state(word: str | None) -> Text:
    """The same beside the state of an engine, which tells already why its market failed."""
    return market_state("failed" if word and word.startswith(FAILED) else word)


def plain_fields(feed: Entry) -> dict[str, Any]:
    """Of the feed's entry, what any worker has."""
    return {name: value for name, value in feed.items() if name not in _NESTED}


def feed_summary(feed: Entry) -> Text:
    """The exchange in a few words, for the line of the feed; empty where it is not live."""
    live, recorder = feed.get("live"), feed.get("recorder")
    line = Text()
    if live is not None:
        plural = "" if live["connections"] == 1 else "s"
        line.append(f" · {live['exchange']}: {live['connections']} connection{plural}")
        if live["cool_down_s"]:
            line.append(f", {_cool_down(live)}", "yellow")
    if recorder is not None:
        line.append(f" · records {_megabytes(recorder['bytes'])}")
        if recorder["dropped"]:
            line.append(f", {recorder['dropped']} messages left out", "yellow")
    return line


def feed_parts(feed: Entry) -> Iterator[RenderableType]:
    """What the feed has beyond other workers."""
    live, recorder, markets = feed.get("live"), feed.get("recorder"), feed.get("markets")
    if live is not None:
        yield _grid(_live_rows(live))
    if recorder is not None:
        yield _grid(_recorder_rows(recorder))
    if markets:
        yield _market_table(markets, live["markets"] if live is not None else {})


def _live_rows(live: Entry) -> Iterator[tuple[str, Text]]:
    mean = live["parse_seconds_mean"]
    yield "exchange", Text(live["exchange"])
    yield "connections", Text(f"{live['connections']} open, {live['dials']} dialled")
    yield "reconnects", Text(str(live["reconnects"]))
    yield "probes", Text(f"{live['probes']} times asked whether silence is right")
    yield "frames", Text(str(live["frames"]) + (f", {mean * 1000:.2f} ms each" if mean is not None else ""))
    yield "rate limit", Text(f"{live['budget_used']:.0%} of the feed's share is used")
    yield "cool-down", Text(_cool_down(live), style="yellow") if live["cool_down_s"] else Text("none")
    yield "clock skew", Text("–" if live["skew_ms"] is None else f"{live['skew_ms']:+d} ms")
    yield "trouble", Text(live["trouble"] or "–")


def _cool_down(live: Entry) -> str:
    return f"asked nothing for another {live['cool_down_s']:.0f} s: {live['cool_down_reason']}"


def _recorder_rows(recorder: Entry) -> Iterator[tuple[str, Text]]:
    lost = f", {recorder['dropped']} left out" if recorder["dropped"] else ""
    text = f"{recorder['messages']} messages, {_megabytes(recorder['bytes'])}{lost}"
    yield "recording", Text(text, style="yellow" if lost else "")
    if recorder["trouble"]:
        yield "recorder trouble", Text(recorder["trouble"], style="yellow")


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def _grid(rows: Iterator[tuple[str, Text]]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for name, text in rows:
        table.add_row(name, text)
    return table


def _market_table(markets: Mapping[str, str], health: Mapping[str, Entry]) -> FittingTable:
    columns = _COUNTS if health else {}
    rows: list[dict[str, RenderableType]] = [
        {
            "symbol": symbol,
            "market": market_state(state),
            **{name: _count(key, health.get(symbol, {}).get(key)) for name, key in columns.items()},
        }
        for symbol, state in markets.items()
    ]
    return FittingTable(("symbol", "market", *columns), ("market",), _LEFT_OUT_FIRST, rows)


def _count(name: str, value: int | None) -> str:
    if value is None:
        return "–"
    return f"{value} ms" if name.endswith("_ms") else str(value)
