"""One broker for one key, wherever on this machine it runs, and with whatever data directory."""

from __future__ import annotations

import socket
import struct
from types import TracebackType

from levibot.errors import StopError

_PEER = struct.Struct("3i")  # pid, uid, gid


class KeyInUseError(StopError):
    """Another process trades with this key."""


class KeyLock:
    """Held from `acquire` on until `release`, or until the process is gone, however it goes.

    It is a socket with a name in the kernel alone, not a file: services have a ``/tmp`` and a run directory of
    their own, and would not see each other's.

    Parameters
    ----------
    fingerprint
        Of the key.
    """

    def __init__(self, fingerprint: str) -> None:
        self._fingerprint = fingerprint
        self._socket: socket.socket | None = None

    def acquire(self) -> None:
        """Take the lock.

        Raises
        ------
        KeyInUseError
            If another process holds it; the text names that.
        """
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            made.bind(self._address)
        except OSError as error:
            made.close()
            raise KeyInUseError(
                f"key {self._fingerprint} is traded by {self._holder()}; two brokers on one key would sell what "
                "the other bought: stop that one, or use a key of its own for each"
            ) from error
        made.listen(128)  # so that whoever is refused can ask who it is
        self._socket = made

    def release(self) -> None:
        """Let go of it; harmless if it is not held."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def __enter__(self) -> KeyLock:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    @property
    def _address(self) -> str:
        return f"\0levibot-key-{self._fingerprint}"

    def _holder(self) -> str:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
            asking.setblocking(False)
            try:
                asking.connect(self._address)
                peer = asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
            except OSError:
                return "another process"
        pid, uid, _ = _PEER.unpack(peer)
        return f"process {pid} of user {uid}" if pid else "another process"
