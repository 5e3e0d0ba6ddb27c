"""Kill a daemon at every moment while it trades busily, and audit what is left.

Run as ``python -m scripts.torture --venue paper --kills 1000``. Exit code 0: nothing lost, nothing doubled;
1: a violation, or it did not recover; 2: wrong usage.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import click
from rich.console import Console

from scripts.torture.ground import place
from scripts.torture.report import show
from scripts.torture.run import RunFailedError, Torture


@click.command()
@click.option("--venue", type=click.Choice(["paper", "binance", "mexc"]), default="paper", show_default=True)
@click.option("--kills", type=click.IntRange(min=1), default=100, show_default=True)
@click.option("--seconds", type=click.FloatRange(min=1), default=float("inf"), help="Kill no more after so long.")
@click.option(
    "--seed", type=int, default=1, show_default=True, help="Of the market and of the choice whom to kill."
)
@click.option("--folder", type=click.Path(path_type=Path), help="Keep the state there, which must be empty.")
def main(venue: str, kills: int, seconds: float, seed: int, folder: Path | None) -> None:
    """Torture a daemon."""
    console = Console()
    console.width = max(console.width, 150)
    with tempfile.TemporaryDirectory(prefix="levi-") as name, place(venue, folder or Path(name), seed) as ground:
        torture, started = Torture(ground, seed, say=console.print), time.monotonic()
        try:
            findings = torture.run(kills, seconds)
        except RunFailedError as error:
            raise click.ClickException(f"{error}\n{ground.daemon.output()[-2000:]}") from error
    took = time.monotonic() - started
    show(f"{len(torture.kills)} kills, {venue}, seed {seed}, {took:.0f} s", torture.kills, findings, console)
    raise SystemExit(1 if findings.violations else 0)


if __name__ == "__main__":
    main()
