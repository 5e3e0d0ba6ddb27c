"""Options of commands that may leave positions behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click


def leaving_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--flatten`` and ``--keep``."""
    command = click.option("--flatten", is_flag=True, help="Close open positions first.")(command)
    keep = "Leave open positions to the broker: it goes on to protect them, and they are still counted."
    return click.option("--keep", is_flag=True, help=keep)(command)


def leaving(*, flatten: bool, keep: bool) -> dict[str, str]:
    """Parameters of the request; a usage error if both are given."""
    if flatten and keep:
        raise click.UsageError("--flatten and --keep exclude each other.")
    return {name: "true" for name, given in (("flatten", flatten), ("keep", keep)) if given}
