"""The status document as tables, for `status`, `start` and the live table of the foreground daemon."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

Entry = Mapping[str, Any]

_PIPE_WIDTH = 200  # nothing is cut off when the output goes to a file or another program
_STATE_STYLES = {
    "running": "green",
    "starting": "yellow",
    "stopping": "yellow",
    "paused": "cyan",
    "crashed": "bold red",
    "exhausted": "bold red",
    "stopped": "dim",
}
_SIGNAL_STYLES = {"long": "green", "short": "red"}
_RISK_STYLES = {"ACTIVE": "green", "REDUCING": "yellow", "HALTED": "bold red"}
_SEVERITY_STYLES = {"critical": "bold red", "error": "red", "warning": "yellow"}


def print_status(document: Entry) -> None:
    """Print the whole status."""
    _console().print(status_view(document))


def print_entry(entry: Entry) -> None:
    """Print all that is known of one worker."""
    _console().print(entry_view(entry))


def live(*, transient: bool = False) -> Live:
    """A display that is redrawn in place."""
    return Live(console=_console(), auto_refresh=False, transient=transient)


def away() -> Text:
    """Shown while no daemon answers."""
    return Text("the daemon is not running; waiting for it", style="yellow")


def status_view(document: Entry, below: Iterable[RenderableType] = ()) -> Group:
    """Headline, engines, workers, alerts, and what the caller adds below."""
    return Group(
        _headline(document),
        _engine_table(document["engines"]),
        _worker_lines(document["workers"]),
        *(_alert_line(alert) for alert in document["alerts"]),
        *below,
    )


def entry_view(entry: Entry) -> Table:
    """All fields of one worker, one a line."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for name, value in entry.items():
        table.add_row(Text(name.replace("_", " ")), Text(_field(name, value)))
    return table


def _console() -> Console:
    plain = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    return Console(width=_PIPE_WIDTH if plain else None, highlight=False)


def _headline(document: Entry) -> Group:
    daemon = document["daemon"]
    first = Text.assemble(
        ("LeviBot ", "bold"),
        f"{daemon['version']} · {daemon['mode']} · {daemon['exchange']} · up {duration(daemon['uptime_seconds'])}",
        " · equity ",
        (_number(daemon["equity"], ",.2f"), "bold"),
        " · risk ",
        (str(daemon["risk_state"]), _RISK_STYLES.get(daemon["risk_state"], "")),
    )
    if daemon["risk_reason"]:
        first.append(f" ({daemon['risk_reason']})", "dim")
    lines = [first]
    if daemon["disclosure"]:
        lines.append(Text(str(daemon["disclosure"]), style="bold magenta"))
    if daemon["market_ms"]:
        lines.append(Text(f"market time {_utc(daemon['market_ms'] / 1000)}", style="dim"))
    if daemon["code_changed"]:
        remedy = "the code on disk has changed: `levibotctl upgrade` restarts the daemon on it"
        lines.append(Text(remedy, style="yellow"))
    if daemon["shutting_down"]:
        lines.append(Text("shutting down", style="yellow"))
    return Group(*lines)


def _engine_table(engines: Iterable[Entry]) -> Table:
    table = Table(header_style="bold", expand=False)
    table.add_column("symbol", no_wrap=True)
    table.add_column("state", overflow="fold")
    for name in ("uptime", "price", "signal", "position", "PnL day", "PnL", "restarts", "data age", "RSS"):
        table.add_column(name, justify="right", no_wrap=True)
    for engine in engines:
        table.add_row(
            Text(engine["symbol"]),
            _state(engine),
            duration(engine["uptime_seconds"]),
            _price(engine["price"]),
            Text(engine["signal"] or "–", style=_SIGNAL_STYLES.get(engine["signal"], "")),
            _number(engine["position"], "+.6g") if engine["position"] else "–",
            _money(engine["daily_pnl"]),
            _money(engine["total_pnl"]),
            str(engine["restarts"]),
            _age(engine["market_data_age_seconds"]),
            _megabytes(engine["rss_bytes"]),
        )
    return table


def _worker_lines(workers: Iterable[Entry]) -> Group:
    lines = []
    for worker in workers:
        line = Text.assemble((f"{worker['worker']} ", "bold"), _state(worker))
        line.append(f" · up {duration(worker['uptime_seconds'])} · restarts {worker['restarts']}")
        line.append(f" · {_megabytes(worker['rss_bytes'])}")
        lines.append(line)
    return Group(*lines)


def _alert_line(alert: Entry) -> Text:
    line = Text(f"{alert['severity']}: {alert['message']}", style=_SEVERITY_STYLES.get(alert["severity"], ""))
    if alert["remedy"]:
        line.append(f"; {alert['remedy']}", "default")
    return line


def _state(entry: Entry) -> Text:
    word = str(entry["status"])
    text = Text(word, style=_STATE_STYLES.get(word, ""))
    if entry["next_attempt_at"]:
        text.append(f", again in {duration(max(0.0, entry['next_attempt_at'] - time.time()))}", "default")
    elif not entry["ready"] and entry["waiting_for"]:
        text.append(f", waits for {entry['waiting_for']}", "default")
    elif entry["detail"]:
        text.append(f", {entry['detail']}", "default")
    return text


def duration(seconds: float | None) -> str:
    """``42s``, ``5m03s``, ``2h07m``, ``3d04h``."""
    if seconds is None:
        return "–"
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86_400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86_400}d{whole % 86_400 // 3600:02d}h"


def _price(price: float | None) -> str:
    if price is None:
        return "–"
    return f"{price:,.2f}" if abs(price) >= 100 else f"{price:.6g}"


def _money(amount: float | None) -> Text:
    if amount is None:
        return Text("–")
    return Text(f"{amount:+,.2f}", style="green" if amount > 0 else "red" if amount < 0 else "")


def _number(value: float | str | None, form: str) -> str:
    return "–" if value is None else format(float(value), form)


def _age(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    return f"{seconds:.1f}s" if seconds < 60 else duration(seconds)


def _megabytes(size: int | None) -> str:
    return "–" if size is None else f"{size / 1e6:.0f} MB"


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _field(name: str, value: Any) -> str:
    if value is None or value == "":
        return "–"
    if name in ("last_heartbeat", "next_attempt_at"):
        return _utc(value)
    if name.endswith("_bytes"):
        return _megabytes(value)
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {count}" for key, count in value.items()) or "–"
    return str(value)
