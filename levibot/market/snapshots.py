"""Answers to those who ask what the state of a symbol is."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from levibot.bus.codec import Decoder, encode
from levibot.bus.messages import FeedReply, FeedRequest, SnapshotRefused, SnapshotRequest
from levibot.errors import MalformedMessageError
from levibot.market.publisher import Publisher
from levibot.market.source import LockstepMessage
from levibot.market.states import OPENING


class SnapshotDesk:
    """Answers requests; one for a symbol that is just being opened is answered when that is done.

    Parameters
    ----------
    publisher
        Knows what has been published.
    states
        Symbol → ``opening``, ``live``, ``ended``, or why not.
    reply
        Sends an answer to the peer with this identity.
    heed
        Takes messages about lockstep.
    asked
        Called with each symbol that somebody asks for and that has no state; it may have one afterwards.
    malformed
        Called with what was wrong with a message that is none of ours.
    """

    def __init__(
        self,
        publisher: Publisher,
        states: Mapping[str, str],
        reply: Callable[[bytes, bytes], object],
        heed: Callable[[LockstepMessage], None],
        asked: Callable[[str], None],
        malformed: Callable[[str], None],
    ) -> None:
        self._publisher = publisher
        self._states = states
        self._reply = reply
        self._heed = heed
        self._asked = asked
        self._malformed = malformed
        self._decode: Decoder[FeedRequest] = Decoder(FeedRequest)
        self._waiting: dict[tuple[bytes, str], SnapshotRequest] = {}  # the newest of each peer and symbol

    def take(self, frames: list[bytes]) -> None:
        """Deal with one message of a ROUTER: identity and body."""
        if len(frames) != 2:
            self._malformed(f"{len(frames)} frames; expected identity and body")
            return
        identity, body = frames
        try:
            message = self._decode(body)
        except MalformedMessageError as error:
            self._malformed(str(error))
            return
        if not isinstance(message, SnapshotRequest):
            self._heed(message)
            return
        if message.symbol not in self._states:
            self._asked(message.symbol)
        if self._states.get(message.symbol) == OPENING:
            self._waiting[identity, message.symbol] = message
        else:
            self._answer(identity, message)

    def settle(self, symbol: str) -> None:
        """The symbol is open now, or failed, or gone: answer those who waited for it."""
        for identity, waited_for in [key for key in self._waiting if key[1] == symbol]:
            self._answer(identity, self._waiting.pop((identity, waited_for)))

    def _answer(self, identity: bytes, request: SnapshotRequest) -> None:
        reply: FeedReply | None = self._publisher.snapshot(request)
        if reply is None:
            reason = self._states.get(request.symbol, "not among the symbols of this feed")
            reply = SnapshotRefused(request.request_id, request.symbol, reason)
        self._reply(identity, encode(reply))
