"""The daemon that a command is about."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from levibot.api.client import ApiClient
from levibot.errors import LeviBotError
from levibot.locations import Locations, locate


@dataclass
class Target:
    """Found by its configuration file.

    Parameters
    ----------
    config_path
        As the user gave it with ``-c``, or None.
    """

    config_path: Path | None = None

    @cached_property
    def locations(self) -> Locations:
        """Its folders."""
        return locate(self.config_path, os.environ)

    def client(self, timeout: float = 30.0) -> ApiClient:
        """Client of its HTTP interface; nothing is sent yet.

        The folder of the sockets may be another after each start of a daemon, so this looks again.
        """
        return ApiClient(locate(self.config_path, os.environ).api_socket, timeout)


def complete_symbol(context: click.Context, _parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """Symbols of the running daemon, for the shell."""
    root: dict[str, Any] = context.find_root().params
    try:
        engines = Target(root.get("config_path")).client(1.0).get("/engines/status")["engines"]
    except LeviBotError:  # completion stays silent
        return []
    return [CompletionItem(e["symbol"]) for e in engines if e["symbol"].startswith(typed.upper())]
