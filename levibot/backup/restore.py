"""Puts a backup in the place of an account's state, in one step that is done or not done.

What is restored may be older than the world: client ids that were used since must not be used again, so ledgers
and broker count under new generations; and nobody has looked at it, so every symbol starts paused.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from levibot.backup.archive import BROKER, INSTANCE, LEDGERS, BackupError, Manifest, unpack
from levibot.clock import wall_ms
from levibot.config import Config
from levibot.durable import sync_folder, write_error
from levibot.errors import CorruptStoreError, StopError
from levibot.execution.books import Books
from levibot.execution.database_copy import sync_file
from levibot.execution.ledger import Ledger
from levibot.execution.store import named_errors
from levibot.risk.memory import RiskMemory
from levibot.risk.stops import DAILY_STOP, KILL_SWITCH
from levibot.spec import engine_name
from levibot.supervisor.ballast import BALLAST
from levibot.supervisor.orphans import is_held
from levibot.supervisor.registry import Registry
from levibot.supervisor.states import Observed

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # linux/fcntl.h, linux/fs.h
_CANNOT_EXCHANGE = {errno.EINVAL, errno.ENOSYS}
_WHO = "restore"


@dataclass(frozen=True)
class Restored:
    """What was put in place.

    Attributes
    ----------
    manifest
        Of the backup.
    aside
        Folder of what was there before; None if there was nothing.
    positions
        Open positions that the account holds now, by symbol.
    rebuilt
        Ledgers that were damaged in the backup: the broker's history takes their place.
    """

    manifest: Manifest
    aside: Path | None
    positions: dict[str, Decimal]
    rebuilt: list[str]


def restore(archive: Path, config: Config) -> Restored:
    """Restore the account of `config`. The caller holds the lock of the data directory.

    Raises
    ------
    BackupError
        If the backup is damaged, or of another account.
    StopError
        If a worker still runs, or the file system cannot do it. Nothing is changed by any error.
    """
    state = config.state_dir
    _refuse_survivors(state)
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    staged = state.with_name(f"{state.name}.restore-{stamp}")
    try:
        staged.mkdir(mode=0o700, parents=True)
        try:
            manifest = unpack(archive, staged)
            _check(manifest, archive, state)
            positions = _renew_books(staged, manifest)
            rebuilt = _renew_ledgers(staged, manifest)
            _keep_what_goes_on(state, staged)
            _pause(staged, config)
            _keep_latches(state, staged)
            _give_up_notices(staged)
            _own(staged, config.supervisor.data_dir)
            _sync(staged)
        except BaseException:
            shutil.rmtree(staged, ignore_errors=True)
            raise
        aside = state.with_name(f"{state.name}.before-restore-{stamp}") if state.exists() else None
        _put(staged, state)
        if aside is not None:
            staged.rename(aside)  # after the exchange it holds what was there
            (aside / BALLAST).unlink(missing_ok=True)
            if (aside / "recordings").is_dir():
                (aside / "recordings").rename(state / "recordings")
        sync_folder(state.parent)
    except OSError as error:
        raise write_error(state, error) from error
    return Restored(manifest, aside, positions, rebuilt)


def _refuse_survivors(state: Path) -> None:
    held = [path.stem for path in sorted((state / "fences").glob("*.lock")) if is_held(path)]
    if held:
        raise StopError(f"{', '.join(held)} still runs; try again in some seconds, or see `levibotctl doctor`")


def _check(manifest: Manifest, archive: Path, state: Path) -> None:
    if manifest.state != state.name:
        raise BackupError(
            f"{archive}: is of {manifest.state}, the configuration describes {state.name};"
            " correct mode, [exchange] or [feed]"
        )
    names = {file.name for file in manifest.files}
    if missing := {BROKER, INSTANCE} - names:
        raise BackupError(f"{archive}: holds no {' and no '.join(sorted(missing))}; use another backup")


def _renew_books(staged: Path, manifest: Manifest) -> dict[str, Decimal]:
    books = Books(staged / BROKER, manifest.instance, "", Decimal(0))
    try:
        books.begin_generation(wall_ms())
        return {symbol: held.quantity for symbol, held in books.positions.items() if held.quantity}
    finally:
        books.close()


def _renew_ledgers(staged: Path, manifest: Manifest) -> list[str]:
    rebuilt = []
    for path in sorted((staged / LEDGERS).glob("*.sqlite")):
        try:
            ledger = Ledger(path, _symbol_of(path), manifest.instance)
        except CorruptStoreError:
            rebuilt.append(path.stem)
            path.unlink()
            continue
        try:
            ledger.begin_generation()
        finally:
            ledger.close()
    return rebuilt


def _symbol_of(path: Path) -> str:
    with named_errors(path):
        connection = sqlite3.connect(path)
        try:
            row = connection.execute("SELECT symbol FROM ledger").fetchone()
        finally:
            connection.close()
    return str(row[0]) if row else ""


def _keep_what_goes_on(state: Path, staged: Path) -> None:
    """Files of this machine, such as limits of the exchange, and records of what was done: they know of later."""
    if not state.is_dir():
        return
    for path in state.iterdir():
        goes_on = path.suffix == ".jsonl" or not (staged / path.name).exists()
        left_behind = path.name == BALLAST or ".sqlite" in path.name or ".corrupt-" in path.name
        if path.is_file() and goes_on and not left_behind:
            shutil.copy2(path, staged / path.name)


def _pause(staged: Path, config: Config) -> None:
    registry = Registry.open(staged / "registry.json")
    workers = {*registry.workers, *map(engine_name, config.symbols)}
    for worker in workers:
        paused = worker.startswith(engine_name("")) or registry.entry(worker).paused
        registry.update(worker, paused=paused, observed=Observed.STOPPED, pid=None, start_ticks=None)
    if not registry.save():
        raise StopError(f"{staged}: the registry cannot be written; make room")


def _keep_latches(state: Path, staged: Path) -> None:
    """A stop that is in force now is in force after the restore, whatever was when the backup was made."""
    present = RiskMemory(state / "risk.json", wall_ms)
    restored = RiskMemory(staged / "risk.json", wall_ms)
    if present.day_start is not None and restored.begin_day(present.day_start.day):
        # Else the first price of today would end today's stop with that of the backup's day, which is over.
        restored.unlatch(DAILY_STOP)
    for name, latch in present.latches.items():
        restored.latch(name, latch.reason, latch.who)
    for memory in (present, restored):
        if memory.set_aside is not None:
            restored.latch(KILL_SWITCH, f"{memory.set_aside.name} could not be read", _WHO)
    if restored.refused:
        raise StopError(f"{staged}: risk.json cannot be written; make room")


def _give_up_notices(staged: Path) -> None:
    """Alerts that waited to be sent when the backup was made are of yesterday."""
    path = staged / "alerts.sqlite"
    if not path.exists():
        return
    with named_errors(path):
        connection = sqlite3.connect(path)
        try:
            detail = "restored from a backup"
            connection.execute(
                "UPDATE deliveries SET state = 'given_up', detail = ? WHERE state = 'waiting'", (detail,)
            )
            connection.commit()
        finally:
            connection.close()


def _own(staged: Path, data_dir: Path) -> None:
    """Leave everything to the daemon's user when root restores."""
    if os.geteuid() != 0:
        return
    owner = data_dir.stat()
    for path in (staged, *staged.rglob("*")):
        os.chown(path, owner.st_uid, owner.st_gid)


def _sync(staged: Path) -> None:
    for path in sorted(staged.rglob("*")):
        if path.is_file():
            sync_file(path)
        else:
            sync_folder(path)
    sync_folder(staged)


def _put(staged: Path, state: Path) -> None:
    """Exchange two folders in one step: there is no moment without the one or the other."""
    if not state.exists():
        staged.rename(state)
        return
    libc = ctypes.CDLL(None, use_errno=True)
    names = os.fsencode(staged), os.fsencode(state)
    if libc.renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0:
        return
    code = ctypes.get_errno()
    shutil.rmtree(staged, ignore_errors=True)
    if code in _CANNOT_EXCHANGE:
        raise StopError(f"{state}: this file system cannot exchange folders; move that folder away, then restore")
    raise OSError(code, os.strerror(code))
