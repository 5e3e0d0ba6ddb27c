"""The API key of a provider: where it comes from, and that nobody sees it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from levibot.errors import AltDataError
from levibot.private_file import PrivateFileError, read_private

_LONGEST = 4096


class ProviderKey:
    """Reads a key anew each time that it is wanted, so that one which is put there later is found.

    Parameters
    ----------
    source
        Name of the source, for errors.
    variable
        Variable of the environment that may hold it.
    credential
        Name of the systemd credential that may hold it.
    file
        File that holds it; wins over the others. None: none.
    environ
        Variables of the process, those that the supervisor handed over among them.
    """

    def __init__(
        self, source: str, variable: str, credential: str, file: Path | None, environ: Mapping[str, str]
    ) -> None:
        self._source = source
        self._variable = variable
        self._credential = credential
        self._file = file
        self._environ = environ

    def read(self) -> str:
        """The key.

        Raises
        ------
        AltDataError
            If there is none, or its file is not private; the text holds nothing of it.
        """
        key = self.find()
        if not key:
            raise AltDataError(
                f"{self._source}: there is no API key; set key_file or ${self._variable}, or give the unit "
                f"`LoadCredential={self._credential}:FILE`",
                "key",
            )
        return key

    def find(self) -> str:
        """The key, for a provider that may want none; empty if there is none. Errors are those of `read`."""
        key = self._found().strip()
        if not key.isascii() or not key.isprintable() or " " in key:
            raise AltDataError(f"{self._source}: the API key has characters that no key holds; correct it", "key")
        return key

    def _found(self) -> str:
        if self._file is not None:
            return self._of_file(self._file)
        if self._environ.get(self._variable):
            return self._environ[self._variable]
        folder = self._environ.get("CREDENTIALS_DIRECTORY")
        if folder and os.path.exists(path := Path(folder, self._credential)):
            try:  # systemd sees to owner and mode
                return path.read_text(encoding="utf-8")
            except (OSError, ValueError) as error:
                raise AltDataError(
                    f"{self._source}: {path} cannot be read ({type(error).__name__})", "key"
                ) from None
        return ""

    def _of_file(self, file: Path) -> str:
        try:
            return read_private(file, f"{self._source}: key_file {file}", _LONGEST).decode()
        except PrivateFileError as error:
            raise AltDataError(str(error), "key") from None
        except ValueError:
            raise AltDataError(f"{self._source}: key_file {file} holds no text; correct it", "key") from None
