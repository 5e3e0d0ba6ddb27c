"""Alternative data of one asset, and of the market as a whole, as an engine receives them."""

from __future__ import annotations

import math
from collections.abc import Callable

from levibot.bus.codec import ALTDATA, SEPARATOR, Decoder, topic
from levibot.bus.messages import AltData
from levibot.errors import MalformedMessageError


class AltDataStream:
    """Tells what is new; values are repeated on the bus for those who come late.

    Parameters
    ----------
    asset
        Base asset, ``"BTC"``.
    refuse
        Called with what was wrong with a message that could not be read.

    Attributes
    ----------
    topics
        What to subscribe to.
    """

    def __init__(self, asset: str, refuse: Callable[[str], None]) -> None:
        self.topics = topic(ALTDATA, asset), topic(ALTDATA, "")
        self._assets = (asset, "")
        self._refuse = refuse
        self._decode: Decoder[AltData] = Decoder(AltData)
        self._newest: dict[tuple[str, str], AltData] = {}  # by asset and name

    def owns(self, frame: bytes) -> bool:
        """Whether a frame is one of these."""
        return frame.startswith(self.topics)

    def take(self, frame: bytes) -> AltData | None:
        """Read a frame; None if it says nothing new."""
        try:
            data = self._decode(frame.partition(SEPARATOR)[2])
        except MalformedMessageError as error:
            self._refuse(f"alternative data: {error}")
            return None
        if data.asset not in self._assets or not data.name or not math.isfinite(data.value):
            self._refuse(f"alternative data: {data.name!r:.40} of {data.asset!r:.40} is {data.value}")
            return None
        key = data.asset, data.name
        if self._newest.get(key) == data:
            return None
        self._newest[key] = data
        return data
