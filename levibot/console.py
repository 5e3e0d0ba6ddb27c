"""The live table of the daemon in the foreground, as a process of its own.

A terminal can block whoever writes to it (Ctrl-S, a selected text, a slow line); here that stops nothing
but the table.
"""

from __future__ import annotations

import argparse
import select
import signal
import sys
from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.text import Text

from levibot.api.client import ApiClient, ApiError, NotRunningError
from levibot.cli.stop import remaining
from levibot.cli.view import live, status_view

_REFRESH = 0.5
_CHANGES_SHOWN = 5


class PositionChanges:
    """The newest changes of positions, seen by comparing one status with the next."""

    def __init__(self) -> None:
        self._positions: dict[str, float] | None = None
        self._lines: deque[Text] = deque(maxlen=_CHANGES_SHOWN)

    def update(self, document: Mapping[str, Any]) -> list[Text]:
        """Take in a status document; the newest changes, oldest first."""
        latest = {
            engine["symbol"]: float(engine["position"])
            for engine in document["engines"]
            if engine["position"] is not None
        }
        if self._positions is not None:
            for engine in document["engines"]:
                symbol = engine["symbol"]
                if symbol in latest and symbol in self._positions:
                    self._note(engine, latest[symbol] - self._positions[symbol], latest[symbol])
        self._positions = {**(self._positions or {}), **latest}
        return list(self._lines)

    def _note(self, engine: Mapping[str, Any], change: float, position: float) -> None:
        if change == 0:
            return
        verb, style = ("bought", "green") if change > 0 else ("sold", "red")
        price = f" near {engine['price']:,.6g}" if engine["price"] is not None else ""
        now = datetime.now(UTC).strftime("%H:%M:%S")
        self._lines.append(
            Text.assemble(
                (f"{now} UTC ", "dim"),
                f"{engine['symbol']} ",
                (verb, style),
                f" {abs(change):.6g}{price}, {f'position {position:+.6g}' if position else 'no position left'}",
            )
        )


def main() -> None:
    """Draw until the daemon is gone or closes our stdin."""
    parser = argparse.ArgumentParser(prog="python -m levibot.console")
    parser.add_argument("--socket", type=Path, required=True)
    arguments = parser.parse_args()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the daemon, which then lets us go
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # leaves through `live`, which restores the terminal
    draw(ApiClient(arguments.socket, timeout=10.0))


def draw(client: ApiClient) -> None:
    """Show the status until there is none, or until stdin ends; then say which positions are kept."""
    document = None
    changes = PositionChanges()
    with live() as display:
        while not _released(_REFRESH):
            try:
                document = client.get("/engines/status")
            except NotRunningError:
                break
            except ApiError as error:  # too busy to answer, for instance; the next poll may do better
                display.update(Text(str(error), style="yellow"), refresh=True)
                continue
            hint = Text("Ctrl-C stops the daemon; `levibotctl` commands it from another terminal", style="dim")
            display.update(status_view(document, [*changes.update(document), hint]), refresh=True)
    if document is not None:
        print(remaining(document))


def _released(seconds: float) -> bool:
    """Wait; whether the daemon has closed our stdin."""
    readable = select.select([sys.stdin], [], [], seconds)[0]
    return bool(readable) and sys.stdin.read(1) == ""


if __name__ == "__main__":
    main()
