"""The outward heartbeat: a URL is requested as long as all is well, so that somebody outside notices silence."""

from __future__ import annotations

import urllib.error
import urllib.request
from pathlib import Path

from levibot.alerting.secret_files import SecretFile
from levibot.api.client import ApiClient
from levibot.errors import LeviBotError
from levibot.private_file import PrivateFileError

_HEALTH_TIMEOUT = 5.0
_URL_TIMEOUT = 10.0
_SCHEMES = ("http://", "https://")


def heartbeat_url(file: SecretFile) -> str:
    """The one URL that `file` holds.

    Raises
    ------
    PrivateFileError
        If the file is not fit, or holds something else.
    """
    lines = file.read()
    if len(lines) != 1 or not lines[0].text.startswith(_SCHEMES):
        raise PrivateFileError(f"alerts.{file.key} {file.path} must hold one http or https URL, and nothing else")
    return lines[0].text


class Pulse:
    """One beat after another; each blocks, so it is made in a thread.

    Parameters
    ----------
    file
        With the URL.
    api_socket
        Where the daemon is asked whether all is well.

    Attributes
    ----------
    sent, failed, withheld
        Requests that were answered, those that were not, and beats without one because all was not well.
    trouble
        What is wrong with the file, or with the newest request.
    """

    def __init__(self, file: SecretFile, api_socket: Path) -> None:
        self.sent = self.failed = self.withheld = 0
        self.trouble = ""
        self._file = file
        self._client = ApiClient(api_socket, _HEALTH_TIMEOUT)

    def beat(self) -> None:
        """Request the URL if the daemon says that all is well."""
        try:
            url = heartbeat_url(self._file)
        except PrivateFileError as error:
            self.trouble = str(error)
            return
        if not self._healthy():
            self.withheld += 1
            return
        try:
            with urllib.request.urlopen(url, timeout=_URL_TIMEOUT) as answer:
                answer.read(1)
        except urllib.error.HTTPError as error:
            error.close()
            self._fail(f"answered {error.code}")
        except Exception as error:  # noqa: BLE001 -- whatever it is, its text may hold the URL
            self._fail(type(error).__name__)
        else:
            self.sent += 1
            self.trouble = ""

    def _fail(self, why: str) -> None:
        self.failed += 1
        self.trouble = f"alerts.{self._file.key}: the URL was not reached ({why})"

    def _healthy(self) -> bool:
        try:
            return bool(self._client.get("/health")["ok"])
        except LeviBotError:  # not ok is answered with an error status
            return False
