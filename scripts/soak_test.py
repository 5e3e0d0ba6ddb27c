"""Watch a running daemon for a while, and say whether anything went wrong.

Run as ``python -m scripts.soak_test --seconds N``. Exit code 0: nothing, 1: something, 2: wrong usage.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from levibot.api.client import ApiClient
from levibot.errors import LeviBotError
from levibot.locations import locate
from scripts.bench.live import open_daemon
from scripts.soak.verdict import Limits, document, explained, judge, show
from scripts.soak.watch import Watch

ENGINES = 15
TICK_HZ = 30.0
OWN: dict[str, dict[str, Any]] = {
    "supervisor": {"unique_memory_interval": 2.0},
    "engine": {"strategy": "ensemble"},
    "inference": {"processes": 2},
    "feed": {"speed": 60.0},
}


@click.command()
@click.option("--seconds", type=click.FloatRange(min=5), default=60.0, show_default=True, help="Length.")
@click.option("-c", "--config", type=click.Path(path_type=Path), help="Configuration of the daemon to watch.")
@click.option("--socket", type=click.Path(path_type=Path), help="Its API socket, instead.")
@click.option("--own", is_flag=True, help="Start a daemon for this: 15 engines, 30 ticks a second each.")
@click.option("--kill-every", type=click.FloatRange(min=1), help="Kill a worker every so many seconds.")
@click.option("--seed", type=int, default=1, show_default=True, help="Of the choice whom to kill.")
@click.option("--uptime", type=click.FloatRange(0, 1), default=Limits.uptime, show_default=True)
@click.option(
    "--slope-kb", type=float, default=Limits.slope_bytes_per_minute / 1000, show_default=True, help="kB a minute."
)
@click.option("--errors", type=int, default=Limits.errors, show_default=True, help="Errors that follow no kill.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the result there too.")
def main(
    seconds: float,
    config: Path | None,
    socket: Path | None,
    own: bool,
    kill_every: float | None,
    seed: int,
    uptime: float,
    slope_kb: float,
    errors: int,
    json_path: Path | None,
) -> None:
    """Soak a daemon and judge it."""
    if own and (config or socket):
        raise click.UsageError("--own starts a daemon of its own: leave out --config and --socket")
    console = Console()
    try:
        with _daemon(config, socket, own=own) as api:
            watch = Watch(api, kill_every, seed)
            watch.run(seconds, click.echo)
    except (LeviBotError, RuntimeError) as error:
        raise click.ClickException(str(error)) from error
    verdicts = judge(watch, Limits(uptime, slope_kb * 1000, errors))
    for line in explained(watch):
        console.print(line, highlight=False, soft_wrap=True)
    show(verdicts, f"{len(watch.tracks)} workers for {seconds:g} s, {len(watch.killed)} kills", console)
    result = document(watch, verdicts)
    if json_path is not None:
        json_path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    raise SystemExit(0 if result["passed"] else 1)


@contextlib.contextmanager
def _daemon(config: Path | None, socket: Path | None, *, own: bool) -> Iterator[ApiClient]:
    if own:
        with open_daemon(ENGINES, TICK_HZ, **OWN) as daemon:
            daemon.start()
            daemon.wait_until_ready()
            yield daemon.client
        return
    api = ApiClient(socket or locate(config, os.environ).api_socket, timeout=10.0)
    api.get("/engines/status")
    yield api


if __name__ == "__main__":
    main()
