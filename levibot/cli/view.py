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

from levibot.cli.account_view import account_summary
from levibot.cli.feed_view import brief_market_state, feed_parts, feed_summary, plain_fields
from levibot.cli.fitting_table import FittingTable

Entry = Mapping[str, Any]

_COLUMNS = (
    "symbol",
    "state",
    "market",
    "uptime",
    "price",
    "signal",
    "P(up)",
    "position",
    "PnL day",
    "PnL",
    "restarts",
    "data age",
    "RSS",
)
_LEFT_OUT_FIRST = ("RSS", "P(up)", "PnL day", "data age", "uptime", "restarts")
_LABELS = {"probability": "probability of the bet", "prob_up": "P(up)"}  # a short that is .9 likely: P(up) .1
_WORDS = ("state", "market")
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
    stdout_console().print(status_view(document))


def print_entry(entry: Entry) -> None:
    """Print all that is known of one worker."""
    stdout_console().print(entry_view(entry))


def live(*, transient: bool = False) -> Live:
    """A display that is redrawn in place."""
    return Live(console=stdout_console(), auto_refresh=False, transient=transient)


def away() -> Text:
    """Shown while no daemon answers."""
    return Text("the daemon is not running; waiting for it", style="yellow")


def status_view(document: Entry, below: Iterable[RenderableType] = ()) -> Group:
    """Headline, engines, workers, alerts, and what the caller adds below."""
    return Group(
        _headline(document),
        _engine_table(document["engines"], live=document["daemon"]["source"] == "ccxt"),
        *_untraded_lines(document["untraded_positions"]),
        *_lines_without_model(document["engines"]),
        *_lines_without_component(document["engines"]),
        *frozen_lines(document["engines"]),
        _worker_lines(document["workers"]),
        *(_alert_line(alert) for alert in document["alerts"]),
        *below,
    )


def entry_view(entry: Entry) -> Group:
    """All that is known of one worker."""
    return Group(_fields(plain_fields(entry)), *feed_parts(entry))


def _fields(entry: Entry) -> Table:
    """One a line."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for name, value in entry.items():
        words = _LABELS.get(name) or name.removesuffix("_bytes").removesuffix("_ms").replace("_", " ")
        table.add_row(Text(words), Text(_field(name, value)))
    return table


def stdout_console() -> Console:
    """As wide as the terminal; wide enough for everything where there is none."""
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
    if daemon["recording_ended"]:
        at = f" at {_utc(daemon['market_ms'] / 1000)}" if daemon["market_ms"] else ""
        lines.append(Text(f"the recording has ended{at}: no more prices come, nothing is traded", style="yellow"))
    if daemon["model"]:
        lines.append(Text(f"model {daemon['model']}", style="dim"))
    if daemon["model_trouble"]:
        lines.append(Text(str(daemon["model_trouble"]), style="yellow"))
    if daemon["tft_model"]:
        lines.append(Text(f"model of sequences {daemon['tft_model']}", style="dim"))
    if daemon["tft_trouble"]:
        lines.append(Text(str(daemon["tft_trouble"]), style="yellow"))
    if daemon["code_changed"]:
        remedy = "the code on disk has changed: `levibotctl upgrade` restarts the daemon on it"
        lines.append(Text(remedy, style="yellow"))
    if daemon["shutting_down"]:
        lines.append(Text("shutting down", style="yellow"))
    return Group(*lines)


def _engine_table(engines: Iterable[Entry], *, live: bool) -> FittingTable:
    """One line for each engine; only prices of an exchange may fall silent, so others need no column for that."""
    columns = [name for name in _COLUMNS if live or name != "market"]
    return FittingTable(columns, _WORDS, _LEFT_OUT_FIRST, [_engine_cells(engine) for engine in engines])


def _engine_cells(engine: Entry) -> dict[str, RenderableType]:
    return {
        "symbol": Text(engine["symbol"]),
        "state": _state(engine),
        "market": brief_market_state(engine["market"]),
        "uptime": duration(engine["uptime_seconds"]),
        "price": _price(engine["price"]),
        "signal": _signal(engine),
        "P(up)": _number(engine["prob_up"], ".2f"),
        "position": _number(engine["position"], "+.6g") if engine["position"] else "–",
        "PnL day": _money(engine["daily_pnl"]),
        "PnL": _money(engine["total_pnl"]),
        "restarts": str(engine["restarts"]),
        "data age": _age(engine["market_data_age_seconds"]),
        "RSS": _megabytes(engine["rss_bytes"]),
    }


def frozen_lines(engines: Iterable[Entry]) -> list[Text]:
    """Why symbols are frozen, one line for each."""
    frozen = [engine for engine in engines if engine["frozen"]]
    return [Text(f"FROZEN {engine['symbol']}: {engine['frozen']}", style="bold red") for engine in frozen]


def _lines_without_model(engines: Iterable[Entry]) -> list[Text]:
    """Why engines whose strategy asks a model have no signal, one line for each reason."""
    symbols: dict[str, list[str]] = {}
    for engine in engines:
        if engine["no_model"]:
            symbols.setdefault(engine["no_model"], []).append(engine["symbol"])
    return [Text(f"no signal for {', '.join(names)}: {why}", style="yellow") for why, names in symbols.items()]


def _lines_without_component(engines: Iterable[Entry]) -> list[Text]:
    """Which components do not count where others do, one line for each, with the first reason.

    Nothing of those that are not configured: nobody expects them.
    """
    left_out: dict[str, dict[str, str]] = {}
    for engine in engines:
        for name, component in (engine["components"] or {}).items():
            if component["probability"] is None and component["configured"] and not engine["no_model"]:
                left_out.setdefault(name, {})[engine["symbol"]] = component["trouble"]
    lines = []
    for name, reasons in left_out.items():
        why, *others = dict.fromkeys(reasons.values())
        more = f" (and {len(others)} other reason{'s' if len(others) > 1 else ''})" if others else ""
        lines.append(Text(f"without {name}: {', '.join(reasons)}: {why}{more}", style="dim"))
    return lines


def _component(component: Entry) -> str:
    if component["probability"] is None:
        return f"does not count: {component['trouble']}" + (
            f" ({component['source']})" if component["source"] else ""
        )
    return f"{component['probability']:.3f} ({component['source']})"


def _untraded_lines(positions: Mapping[str, float]) -> list[Text]:
    """What is held of symbols that were removed."""
    if not positions:
        return []
    held = ", ".join(f"{symbol} {quantity:+.6g}" for symbol, quantity in positions.items())
    remedy = "only their protective orders close them; `levibotctl add SYMBOL` trades one again"
    return [Text(f"positions of symbols that are no longer traded: {held}; {remedy}", style="yellow")]


def _worker_lines(workers: Iterable[Entry]) -> Group:
    lines, rows = [], list(workers)
    width = max((len(worker["worker"]) for worker in rows), default=0) + 1
    for worker in rows:
        line = Text.assemble((f"{worker['worker']:<{width}}", "bold"), _state(worker))
        line.append(f" · up {duration(worker['uptime_seconds'])} · restarts {worker['restarts']}")
        line.append(f" · {_megabytes(worker['rss_bytes'])}")
        if worker.get("answered") is not None:
            line.append(f" · answered {worker['answered']}")
        line.append_text(feed_summary(worker))
        line.append_text(account_summary(worker))
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
    if entry.get("frozen"):
        text.append(" FROZEN", "bold red")
    if entry["next_attempt_at"]:
        text.append(f", again in {duration(max(0.0, entry['next_attempt_at'] - time.time()))}", "default")
    elif not entry["ready"] and entry["waiting_for"]:
        text.append(f", waits for {entry['waiting_for']}", "default")
        text.append(f" ({entry['detail']})" if entry["detail"] else "", "default")
    elif entry["detail"]:
        text.append(f", {entry['detail']}", "default")
    elif entry["error_count"]:
        text.append(f", {entry['error_count']} error{'s' if entry['error_count'] > 1 else ''}", "yellow")
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


def _signal(engine: Entry) -> Text:
    """The newest one, if the engine still stands by it: without an answer of its model it stands by none."""
    signal = "" if engine["no_model"] else engine["signal"] or ""
    return Text(signal or "–", style=_SIGNAL_STYLES.get(signal, ""))


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
    if name.endswith("_ms"):
        return _utc(value / 1000)
    if name.endswith("_bytes"):
        return _megabytes(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name == "components":
        return "\n".join(f"{key} {_component(one)}" for key, one in value.items()) or "–"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {count}" for key, count in value.items()) or "–"
    return str(value)
