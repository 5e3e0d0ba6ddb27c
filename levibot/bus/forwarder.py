"""The market-data forwarder: publishers connect to one side, subscribers to the other."""

from __future__ import annotations

import threading

import zmq

from levibot.bus.sockets import DEFAULT_HIGH_WATER_MARK, make_socket


class Forwarder:
    """XSUB → XPUB, carried by a thread that stays in C and never takes the interpreter's lock.

    It has a context of its own: terminating that ends the proxy at once, whatever waits in the queues.

    Parameters
    ----------
    publishers, subscribers
        Endpoints to bind.
    high_water_mark
        Frames queued for each subscriber before the newest are dropped.
    """

    def __init__(self, publishers: str, subscribers: str, high_water_mark: int = DEFAULT_HIGH_WATER_MARK) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._front = make_socket(self._context, zmq.XSUB, bind=publishers, high_water_mark=high_water_mark)
        self._back = make_socket(self._context, zmq.XPUB, bind=subscribers, high_water_mark=high_water_mark)
        self._thread = threading.Thread(target=self._forward, name="forwarder", daemon=True)
        self._thread.start()

    def _forward(self) -> None:
        try:
            zmq.proxy(self._front, self._back)
        except zmq.ContextTerminated:
            self._front.close(0)
            self._back.close(0)

    @property
    def alive(self) -> bool:
        """Whether frames still flow."""
        return self._thread.is_alive()

    def close(self) -> None:
        """End the proxy and free both endpoints."""
        self._context.term()
        self._thread.join()
