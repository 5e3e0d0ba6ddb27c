"""The daemon that a command is about."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from levibot.api.client import ApiClient
from levibot.errors import LeviBotError
from levibot.locations import Locations, locate, locate_running


@dataclass
class Target:
    """Found by its configuration file.

    Parameters
    ----------
    config_path
        As the user gave it with ``-c``, or None.
    """

    config_path: Path | None = None
    reason: str = field(default="", init=False)  # of what is asked for; for the audit
    _warned: bool = field(default=False, init=False)

    @cached_property
    def locations(self) -> Locations:
        """Its folders, for what starts a daemon or reads its settings."""
        return locate(self.config_path, os.environ)

    def running(self) -> Locations:
        """The same of a daemon that runs: found too while the file is broken, which is told once."""
        places, trouble = locate_running(self.config_path, os.environ)
        if trouble and not self._warned:
            self._warned = True
            where = f"a running daemon is looked for in {places.data_dir}; --data-dir names another folder"
            click.echo(f"Warning: {trouble}\n{where}", err=True)
        return places

    def client(self, timeout: float = 30.0) -> ApiClient:
        """Client of its HTTP interface; nothing is sent yet.

        The folder of the sockets may be another after each start of a daemon, so this looks again.
        """
        return ApiClient(self.running().api_socket, timeout, self.reason)


def reasoned(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--reason``, that goes with each change that the command asks for."""

    def keep(context: click.Context, _parameter: click.Parameter, reason: str) -> None:
        target: Target = context.obj
        target.reason = reason

    option = click.option("--reason", default="", expose_value=False, callback=keep, help="Kept in the audit.")
    return option(command)


def complete_symbol(context: click.Context, _parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """Symbols of the running daemon, for the shell."""
    root: dict[str, Any] = context.find_root().params
    try:
        socket_path = Target(root.get("config_path")).locations.api_socket
        engines = ApiClient(socket_path, 1.0).get("/engines/status")["engines"]
    except LeviBotError:  # completion stays silent
        return []
    return [CompletionItem(e["symbol"]) for e in engines if e["symbol"].startswith(typed.upper())]
