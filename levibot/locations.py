"""Where the configuration file, the state and the sockets of a daemon lie.

Kept free of heavy imports, so that `levibotctl` finds a running daemon within milliseconds and even
while the configuration is broken.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from levibot.errors import ConfigError, StopError

FILE_VARIABLE = "LEVIBOT_CONFIG"
DATA_DIR_VARIABLE = "LEVIBOT_SUPERVISOR__DATA_DIR"
RUN_DIR_VARIABLE = "LEVIBOT_SUPERVISOR__RUN_DIR"
# The key of an account; kept from all processes but the broker.
KEY_VARIABLES = ("LEVIBOT_API_KEY", "LEVIBOT_API_SECRET", "LEVIBOT_API_PASSWORD")
# Keys of providers of alternative data; kept from all processes but that one.
PROVIDER_KEY_VARIABLES = ("LEVIBOT_DUNE_KEY", "LEVIBOT_SENTIMENT_KEY")
_DEFAULT_DATA_DIR = Path("var")
_SYSTEM_FILE = Path("/etc/levibot/supervisor.toml")
_LONGEST_ADDRESS = 107  # bytes; the kernel takes no longer path of a unix socket
_LONGEST_SOCKET_NAME = 20
API_SOCKET = "api.sock"
SUBSCRIBERS_SOCKET = "market-out.sock"
# A folder of [supervisor], written on one line that is no comment.
_FOLDER = re.compile(r"""^[^#\n]*?\b(data_dir|run_dir)\s*=\s*("(?:[^"\\\n]|\\.)*"|'[^'\n]*')""", re.MULTILINE)


@dataclass(frozen=True)
class Locations:
    """What a client must know of a daemon.

    Parameters
    ----------
    config_path
        The configuration file, or None for the embedded defaults.
    data_dir, run_dir
        Folders of the state and of the sockets, absolute.
    """

    config_path: Path | None
    data_dir: Path
    run_dir: Path

    @property
    def api_socket(self) -> Path:
        """Unix socket of the HTTP interface."""
        return self.run_dir / API_SOCKET

    @property
    def log_dir(self) -> Path:
        """Folder of the log files."""
        return self.data_dir / "logs"


def find_file(given: Path | None, environ: Mapping[str, str]) -> Path | None:
    """Configuration file in force, absolute; None if there is none, so that the embedded defaults hold.

    Raises
    ------
    ConfigError
        If the file that was asked for does not exist.
    """
    named = _named_file(given, environ)
    if named is not None:
        if not named.is_file():
            source = "-c" if given is not None else f"${FILE_VARIABLE}"
            raise ConfigError(f"{named}: no such file; correct {source}")
        return named
    for path in (Path("supervisor.toml"), _SYSTEM_FILE):
        if path.is_file():
            return path.absolute()
    return None


def _named_file(given: Path | None, environ: Mapping[str, str]) -> Path | None:
    """The file that the user asked for, absolute, whether it is there or not."""
    named = given if given is not None else _path_or_none(environ.get(FILE_VARIABLE))
    return named.absolute() if named is not None else None


def read_file(path: Path) -> tuple[str, dict[str, Any]]:
    """Text and tables of a TOML file.

    Raises
    ------
    ConfigError
        If it cannot be read or is no TOML; the text names file and line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}; correct its permissions") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 text (byte {error.start}); save it as UTF-8") from error
    try:
        return text, tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(_syntax_error(path, text, str(error))) from error


def anchored(path: Path, base: Path) -> Path:
    """`path`, absolute: relative to `base`, and ``~`` is the home folder."""
    return Path(os.path.normpath(base / path.expanduser()))


def locate(given: Path | None, environ: Mapping[str, str]) -> Locations:
    """Find the daemon that a configuration describes, reading no more of it than that takes.

    Raises
    ------
    ConfigError
        If the file is missing or no TOML.
    StopError
        If somebody else owns the folder of the sockets.
    """
    path = find_file(given, environ)
    tables = read_file(path)[1] if path is not None else {}
    section = tables.get("supervisor")
    return _places(path, section if isinstance(section, dict) else {}, environ)


def locate_running(given: Path | None, environ: Mapping[str, str]) -> tuple[Locations, str]:
    """Find a daemon that runs, also if its file was broken or removed meanwhile.

    Of a file that is no TOML the lines that name folders are read. Where they cannot be read either,
    the default folders are taken.

    Returns
    -------
    locations
        Where to ask.
    trouble
        What is wrong with the file; empty if nothing is.

    Raises
    ------
    StopError
        If somebody else owns the folder of the sockets.
    """
    try:
        return locate(given, environ), ""
    except ConfigError as error:
        path = _named_file(given, environ) or find_file(None, environ)
        return _places(path, _salvaged(path), environ), str(error)


def _places(path: Path | None, settings: Mapping[str, Any], environ: Mapping[str, str]) -> Locations:
    base = path.parent if path is not None else Path.cwd()

    def folder(key: str, variable: str) -> Path | None:
        if environ.get(variable):
            return anchored(Path(environ[variable]), Path.cwd())
        value = settings.get(key)
        return anchored(Path(value), base) if isinstance(value, str) else None

    data_dir = folder("data_dir", DATA_DIR_VARIABLE) or default_data_dir(base, environ)
    run_dir = folder("run_dir", RUN_DIR_VARIABLE)
    return Locations(path, data_dir, _shortened(run_dir) if run_dir else _followed(data_dir / "run"))


def default_data_dir(base: Path, environ: Mapping[str, str]) -> Path:
    """Folder of the state where nothing else is configured: systemd's StateDirectory, else `var` in `base`."""
    given = _first_folder(environ, "STATE_DIRECTORY")
    return given or anchored(_DEFAULT_DATA_DIR, base)


def choose_run_dir(data_dir: Path, run_dir: Path | None, environ: Mapping[str, str]) -> Path:
    """Folder where a daemon puts its sockets: as configured, else systemd's, else below `data_dir`."""
    if run_dir is not None:
        return _shortened(run_dir)
    return _shortened(_first_folder(environ, "RUNTIME_DIRECTORY") or data_dir / "run")


def make_private(folder: Path) -> None:
    """Make a folder that nobody else may read, and those above it that are missing just so."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(mode=0o700, exist_ok=True)


def prepare_run_dir(path: Path, data_dir: Path) -> None:
    """Make the folder of the sockets, private, and leave a link to it where clients look.

    Raises
    ------
    StopError
        If somebody else owns it, or if something that is no folder is in its place.
    """
    link = data_dir / "run"
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    if link.is_symlink():
        link.unlink()
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    _refuse_foreign(path)
    path.chmod(0o700)
    if path != link and not link.exists():
        link.symlink_to(path)


def _followed(path: Path) -> Path:
    return path.readlink() if path.is_symlink() else _shortened(path)


def _shortened(path: Path) -> Path:
    """`path`, or a stand-in that is the same each time where socket addresses would be too long."""
    if len(os.fsencode(path)) + 1 + _LONGEST_SOCKET_NAME <= _LONGEST_ADDRESS:
        return path
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:12]
    short = Path(f"/tmp/levibot-{os.geteuid()}-{digest}")
    _refuse_foreign(short)  # anybody may make folders in /tmp
    return short


def _refuse_foreign(path: Path) -> None:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise StopError(
            f"{path}: is no folder of this user, so no sockets are put there; remove it, or set supervisor.run_dir"
        )


def _first_folder(environ: Mapping[str, str], variable: str) -> Path | None:
    return _path_or_none(environ.get(variable, "").partition(":")[0])  # systemd separates several by colons


def _path_or_none(text: str | None) -> Path | None:
    return Path(text) if text else None


def _salvaged(path: Path | None) -> dict[str, Any]:
    """Folders that a file names, though it cannot be read as a whole."""
    folders: dict[str, Any] = {}
    try:
        text = path.read_text(encoding="utf-8", errors="replace") if path is not None else ""
    except OSError:
        return folders
    for key, written in _FOLDER.findall(text):
        with contextlib.suppress(tomllib.TOMLDecodeError):
            folders |= tomllib.loads(f"{key} = {written}")
    return folders


def _syntax_error(path: Path, text: str, message: str) -> str:
    where = re.search(r" \(at (?:line (\d+), column \d+|end of document)\)$", message)
    if where is None:
        return f"{path}: not valid TOML: {message}"
    line = where[1] or str(text.count("\n") + 1)
    return f"{path}:{line}: not valid TOML: {message[: where.start()]}"
