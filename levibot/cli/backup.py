"""`backup` and `restore`: the state of an account as one file, and back."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import click

from levibot.cli.target import Target, reasoned


@click.command()
@click.argument("written", metavar="FILE|FOLDER")
@click.pass_obj
def backup(target: Target, written: str) -> None:
    """Back up an account into one file, while it trades or not.

    Orders, ledgers, risk and alerts. In a FOLDER, which must be there, the file is named after account and time;
    a FILE is a name with a suffix, such as backup.tar.gz. It holds no keys, tokens or addresses, and no
    configuration, models, recordings or logs.
    """
    from levibot.backup.archive import BackupError, pack
    from levibot.config_file import load

    state, place = load(target.config_path, os.environ).config.state_dir, Path(written)
    if not place.is_dir() and (place.suffix == "" or written.endswith("/")):
        raise BackupError(
            f"{written}: no such folder; make it (`mkdir -p {written}`), or name a file, as {place}.tar.gz"
        )
    if place.is_dir():
        place = place / f"levibot-{state.name}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.tar.gz"
    manifest = pack(state, place.absolute())
    click.echo(f"{place}: {len(manifest.files)} files of {manifest.state}, {place.stat().st_size / 1e6:.1f} MB")


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--yes", is_flag=True, help="Do not ask.")
@reasoned
@click.pass_obj
def restore(target: Target, file: Path, yes: bool) -> None:
    """Put a backup in the place of the account's state. The daemon must not run.

    What is there is kept aside. All symbols start paused; a kill switch that is on stays on. Orders are numbered
    anew, so that no client id is used twice.
    """
    from levibot.api.caller import starter
    from levibot.backup.restore import restore as put_back
    from levibot.clock import wall_ms
    from levibot.config_file import load
    from levibot.supervisor.audit import AUDIT_FILE, AuditTrail
    from levibot.supervisor.lock import acquire

    config = load(target.config_path, os.environ).config
    lock = acquire(config.supervisor.data_dir / "supervisor.lock")
    try:
        if not yes:
            click.confirm(f"Replace the state in {config.state_dir} ({config.disclosure})?", abort=True)
        restored = put_back(file, config)
        trail = AuditTrail(config.state_dir / AUDIT_FILE, wall_ms, lambda error: click.echo(str(error), err=True))
        trail.note(starter(), "restore", file.name, target.reason)
    finally:
        lock.release()
    manifest = restored.manifest
    click.echo(f"restored {manifest.state} as of {manifest.made_at}; {_remaining(restored.positions)}")
    if restored.aside is not None:
        click.echo(f"what was there is kept in {restored.aside}")
    for name in restored.rebuilt:
        click.echo(f"the ledger {name} is damaged in the backup; it will be rebuilt from the broker's history")
    click.echo("all symbols are paused: start, look at `levibotctl status`, then `levibotctl resume SYMBOL`")


def _remaining(positions: Mapping[str, Decimal]) -> str:
    if not positions:
        return "it holds no positions"
    return "it holds " + ", ".join(f"{symbol} {quantity:+f}" for symbol, quantity in positions.items())
