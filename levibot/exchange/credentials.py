"""The key to an account: where it comes from, and that nobody sees it."""

from __future__ import annotations

import hashlib
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from levibot.config_execution import LiveConfig
from levibot.errors import ConfigError
from levibot.locations import KEY_VARIABLES
from levibot.private_file import PrivateFileError, look_at, read_private

KEY_VARIABLE, SECRET_VARIABLE, PASSWORD_VARIABLE = KEY_VARIABLES
SYSTEMD_NAME = "exchange"  # of the credential in a unit
_LONGEST = 8192
_SHORTEST = 8
_FINGERPRINT_LENGTH = 12


@dataclass(frozen=True, slots=True, repr=False)
class Credentials:
    """Key, secret and, where the exchange wants one, password. Its text holds none of them."""

    key: str
    secret: str
    password: str = ""

    @property
    def fingerprint(self) -> str:
        """Names the key without telling it."""
        return hashlib.sha256(f"levibot {self.key}".encode()).hexdigest()[:_FINGERPRINT_LENGTH]

    @property
    def secrets(self) -> tuple[str, ...]:
        """All that must be in no text."""
        return tuple(text for text in (self.secret, self.password, self.key) if text)

    def __repr__(self) -> str:
        return f"key {self.fingerprint}"


def read_credentials(config: LiveConfig, environ: Mapping[str, str]) -> Credentials:
    """The key of the account, from where the configuration says.

    Parameters
    ----------
    config
        Section ``[live]``.
    environ
        Variables of the process.

    Raises
    ------
    ConfigError
        If there is none, or a part of it is missing; the text holds nothing of it.
    PrivateFileError
        If the file is not private.
    """
    if config.credentials == "environment":
        return _from_environment(environ)
    if config.credentials == "file":
        if config.credentials_file is None:
            raise ConfigError('[live] credentials = "file" needs credentials_file')
        where = f"live.credentials_file {config.credentials_file}"
        return _parse(where, read_private(config.credentials_file, where, _LONGEST))
    return _from_systemd(environ)


def find_credentials(config: LiveConfig, environ: Mapping[str, str]) -> None:
    """Look whether the key is where the configuration says, and private; of a file nothing is read.

    Parameters
    ----------
    config
        Section ``[live]``.
    environ
        Variables of the process.

    Raises
    ------
    ConfigError
        If it is not there.
    PrivateFileError
        If the file is not private.
    """
    if config.credentials == "environment":
        _from_environment(environ)
    elif config.credentials == "systemd":
        path = _systemd_path(environ)
        if not os.access(path, os.R_OK):
            raise _unreadable(path, "not there, or not for this user")
    elif config.credentials_file is not None:
        flaw = look_at(config.credentials_file, os.geteuid())
        if flaw is not None:
            raise PrivateFileError(f"live.credentials_file {config.credentials_file} {flaw}")


def _from_environment(environ: Mapping[str, str]) -> Credentials:
    missing = [name for name in (KEY_VARIABLE, SECRET_VARIABLE) if not environ.get(name)]
    if missing:
        raise ConfigError(
            f'mode = "live" with [live] credentials = "environment" needs {" and ".join(missing)}; set '
            f"{'it' if len(missing) == 1 else 'them'}, or take a file or a systemd credential"
        )
    parts = (environ.get(name, "") for name in (KEY_VARIABLE, SECRET_VARIABLE, PASSWORD_VARIABLE))
    return _checked("the environment", *parts)


def _from_systemd(environ: Mapping[str, str]) -> Credentials:
    path = _systemd_path(environ)
    try:  # systemd sees to owner and mode, by an access list that looks like a mode for the group
        content = path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error.strerror) from error
    return _parse(str(path), content)


def _systemd_path(environ: Mapping[str, str]) -> Path:
    folder = environ.get("CREDENTIALS_DIRECTORY")
    if not folder:
        raise ConfigError(
            '[live] credentials = "systemd" needs a unit with `LoadCredential=exchange:FILE`, which sets '
            "$CREDENTIALS_DIRECTORY"
        )
    return Path(folder, SYSTEMD_NAME)


def _unreadable(path: Path, why: str | None) -> ConfigError:
    return ConfigError(f"{path}: cannot be read ({why}); the unit needs `LoadCredential={SYSTEMD_NAME}:FILE`")


def _parse(where: str, content: bytes) -> Credentials:
    try:
        table = tomllib.loads(content.decode())
    except ValueError as error:  # its text may hold a line of the file
        line = getattr(error, "lineno", None)
        raise ConfigError(
            f'{where}{f":{line}" if line else ""} is not of the form key = "…", secret = "…", each on its line'
        ) from None
    unknown = sorted(set(table) - {"key", "secret", "password"})
    if unknown:
        raise ConfigError(f"{where}: only key, secret and password belong there, not {len(unknown)} other names")
    for name in ("key", "secret"):
        if not table.get(name):
            raise ConfigError(f'{where}: {name} is missing; add {name} = "…"')
    if not all(isinstance(value, str) for value in table.values()):
        raise ConfigError(f"{where}: write each part in quotes")
    return _checked(where, table["key"], table["secret"], table.get("password", ""))


def _checked(where: str, key: str, secret: str, password: str) -> Credentials:
    for name, text in (("key", key), ("secret", secret), ("password", password)):
        if text != text.strip() or not text.isascii() or not text.isprintable():
            raise ConfigError(f"{where}: the {name} has a space at an end, or a character that no key holds")
    if len(key) < _SHORTEST:
        raise ConfigError(f"{where}: the key has {len(key)} characters, which is too short for one")
    return Credentials(key, secret, password)
