"""May everybody read what they must, and nobody else?"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from levibot.api.tokens import READ_TOKEN_FILE, TOKEN_FILE
from levibot.doctor.finding import Finding, Level, Patient
from levibot.private_file import look_at


def check_permissions(patient: Patient) -> Iterator[Finding]:
    """Folders, tokens, files with addresses, and the configuration."""
    owner = _owner(patient.data_dir)
    for name, folder in (("data_dir", patient.data_dir), ("run_dir", patient.run_dir)):
        yield check_folder(name, folder, owner)
    alerts, altdata = patient.config.alerts, patient.config.altdata
    for name, path, needed in (
        ("API token", patient.data_dir / TOKEN_FILE, False),
        ("API read token", patient.data_dir / READ_TOKEN_FILE, False),
        ("alerts.targets_file", alerts.targets_file, True),
        ("alerts.heartbeat_file", alerts.heartbeat_file, True),
        ("live.credentials_file", patient.config.live.credentials_file, True),
        ("altdata.dune.key_file", altdata.dune.key_file if altdata.dune.enabled else None, True),
        ("altdata.news.key_file", altdata.news.key_file if altdata.news.enabled else None, True),
    ):
        if path is not None and (needed or path.exists()):
            yield check_secret(name, path, owner)
    if patient.config_path is not None:
        yield check_config(patient.config_path)


def check_folder(name: str, folder: Path, owner: int) -> Finding:
    """A folder that is private to its owner, who is the daemon's user."""
    try:
        found = folder.stat()
    except FileNotFoundError:
        return Finding(name, "ok", f"{folder} will be made")
    except OSError as error:
        return Finding(name, "fail", f"{folder}: {error.strerror}", "run this as the daemon's user, or as root")
    if not stat.S_ISDIR(found.st_mode):
        return Finding(name, "fail", f"{folder} is no folder", "move it away")
    if found.st_uid != owner:
        return Finding(name, "fail", f"{folder} belongs to another user than data_dir", f"chown it to uid {owner}")
    if os.geteuid() not in (0, owner):
        return Finding(name, "warn", f"{folder} belongs to uid {owner}", "run this as that user, or as root")
    if stat.S_IMODE(found.st_mode) & 0o077:
        mode = stat.S_IMODE(found.st_mode)
        level: Level = "fail" if mode & 0o022 else "warn"
        return Finding(name, level, f"{folder} is open to others (mode {mode:04o})", f"chmod 0700 {folder}")
    return Finding(name, "ok", f"{folder}, mode 0700")


def check_secret(name: str, path: Path, owner: int) -> Finding:
    """A file that only the daemon's user may read."""
    flaw = look_at(path, owner)
    if flaw is not None:
        return Finding(name, "fail", f"{path} {flaw.what}", flaw.remedy.strip("`"))
    return Finding(name, "ok", f"{path}, mode 0600")


def check_config(path: Path) -> Finding:
    """A file that not everybody may write: it names code that is run."""
    for candidate in (path, path.parent):
        mode = candidate.stat().st_mode
        sticky = candidate.is_dir() and mode & stat.S_ISVTX
        if mode & stat.S_IWOTH and not sticky:
            found = f"{candidate} can be written by everybody: it names code that is run"
            return Finding("configuration file", "fail", found, f"chmod o-w {candidate}")
    return Finding("configuration file", "ok", str(path))


def _owner(data_dir: Path) -> int:
    try:
        return data_dir.stat().st_uid
    except OSError:
        return os.geteuid()
