"""Which line carries the streams of which symbol, and what happens when one of them is lost."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from levibot.clock import boot_ns
from levibot.exchange.session import ExchangeSession
from levibot.market.live.backoff import HEALTHY_S, Backoff, DialBudget
from levibot.market.live.lines import Line
from levibot.market.live.receiver import Receiver
from levibot.market.live.replacement import LINGER_S, READY_S, Replacement
from levibot.market.live.streams import Failure, SymbolStreams, streams_of
from levibot.market.live.subscriber import Subscriber

_CHECK_EVERY_S = 0.25
_LIFE = (0.85, 0.95)  # of a connection's life, at which it is replaced; by chance, so that not all are at once
_AGAIN_S = 60.0  # after a line could not be replaced
_SPARE_LINES = 4  # beside twice as many as would do
_SUSPICIOUS = 3  # losses of a line soon after it was opened, after which its symbols are parted
_NS = 1_000_000_000


def _ignore(*_: object) -> None:
    """Nobody listens."""


@dataclass(frozen=True, slots=True)
class Listeners:
    """Who is told of what happens to connections, for the log. All are called from the event loop.

    Parameters
    ----------
    dialled
        Symbols of a line that begins to connect.
    lost
        Symbols of a line that is lost, and why.
    renewed
        A symbol whose streams failed alone and are subscribed again on another line, and why.
    replaced
        Symbols that have been taken over by a fresh line before the old one ended.
    """

    dialled: Callable[[Sequence[str]], None] = _ignore
    lost: Callable[[Sequence[str], str], None] = _ignore
    renewed: Callable[[str, str], None] = _ignore
    replaced: Callable[[Sequence[str]], None] = _ignore


class Switchboard:
    """Streams of many symbols, on as few lines as the exchange allows.

    `connect` each symbol, `disconnect` it, and in the end `await close()`. Between, receivers are told of losses
    and of what was restored; a line that is lost is dialled again, and one that grows old is replaced while it
    still works. Whoever finds that the streams of a symbol lie or are silent calls `renew`.

    Parameters
    ----------
    session
        Open; `quirks` and `markets` of it are used.
    tell
        For the log.
    budget
        Of dials, for all lines together.
    """

    def __init__(
        self,
        session: ExchangeSession,
        tell: Listeners | None = None,
        budget: DialBudget | None = None,
    ) -> None:
        self.dials = 0
        self.reconnects = 0
        self._session = session
        self._tell = tell or Listeners()
        self._budget = budget or DialBudget()
        self._subscribers: dict[str, Subscriber] = {}
        self._lines: list[Line] = []
        self._again: set[Line] = set()  # lines that take the place of something that failed
        self._replacements: list[Replacement] = []
        self._retire_ns: dict[Line, int] = {}  # when a line is replaced
        self._refuges: WeakKeyDictionary[Line, Line] = WeakKeyDictionary()  # line → where those go that leave it
        self._lingering: dict[Line, int] = {}  # until when one stays that has been
        self._ending: set[asyncio.Task[None]] = set()
        self._frames_before = 0  # of lines that have ended
        self._checking = asyncio.create_task(self._check())

    # ------------------------------------------------------------------ what others ask for

    @property
    def connections(self) -> int:
        """Open connections."""
        return sum(line.is_open for line in self._lines)

    @property
    def frames(self) -> int:
        """Frames that were dealt with, ever."""
        return self._frames_before + sum(line.frames for line in self._lines)

    def connect(self, symbol: str, receiver: Receiver) -> None:
        """Subscribe to the streams of a symbol; `on_restored` tells when that is done, `on_lost` if it fails."""
        assert symbol not in self._subscribers, f"{symbol} is connected already"
        subscriber = self._subscribers[symbol] = Subscriber(symbol, receiver)
        line = self._line_with_room_for(symbol) or self._new_line(Backoff())
        self._carry(subscriber, line)

    def disconnect(self, symbol: str) -> None:
        """Nothing of it is received any more."""
        if self._subscribers.pop(symbol, None) is None:
            return
        self._drop_standby(symbol)
        for line in list(self._lines):
            line.remove(symbol)
            self._end_if_empty(line)

    def renew(self, symbol: str, reason: str) -> None:
        """Its streams lie, hang or are silent: subscribe again on another line; others are not touched.

        While that is under way already, nothing happens.
        """
        subscriber = self._subscribers.get(symbol)
        if subscriber is not None and subscriber.streams is not None and subscriber.streams.is_up:
            self._renew(subscriber, reason)

    def distrust(self, reason: str) -> None:
        """All connections may have ended unnoticed: each is dialled again."""
        for line in list(self._lines):
            if line.is_open:
                line.lose(reason)

    def hasten(self) -> None:
        """The exchange seems to be there again: dial without waiting any longer."""
        for line in self._lines:
            line.hasten()

    async def close(self) -> None:
        """End everything; no task and no socket is left."""
        self._checking.cancel()
        self._subscribers.clear()
        for line in list(self._lines):
            self._end(line)
        await asyncio.gather(self._checking, *self._ending, return_exceptions=True)

    # ------------------------------------------------------------------ what lines tell

    def line_dials(self, line: Line) -> None:
        """Count it."""
        self.dials += 1
        self.reconnects += line in self._again
        self._tell.dialled(list(line.streams))

    def streams_up(self, line: Line, streams: SymbolStreams) -> None:
        """A symbol is restored, unless these streams only wait to replace others."""
        subscriber = self._subscribers.get(streams.symbol)
        if subscriber is not None and subscriber.streams is streams:
            subscriber.restore()

    def streams_failed(self, line: Line, streams: SymbolStreams, failure: Failure) -> None:
        """Subscribe them again on another line."""
        subscriber = self._subscribers.get(streams.symbol)
        if subscriber is None or subscriber.streams is not streams:
            line.remove(streams.symbol)
            self._drop_standby(streams.symbol)  # they were to replace others, which go on
            return
        if failure.malformed:
            subscriber.complain(failure.reason)
        self._renew(subscriber, failure.reason)

    def line_lost(self, line: Line, reason: str) -> None:
        """Dial again for all whom it carried, but for those that another line carries already."""
        carried = [s for s in self._subscribers.values() if s.line is line]
        self._end(line)
        self._tell.lost([subscriber.symbol for subscriber in carried], reason)
        for subscriber in carried:
            subscriber.lose(reason)
        homeless = [s for s in carried if not self._take_standby(s)]
        self._forget_in_replacements(line)
        if homeless:
            pause_s = line.backoff.failed()
            for part in self._parted(line, homeless):
                again = self._new_line(line.backoff.copy(), pause_s)
                self._again.add(again)
                for subscriber in part:
                    self._carry(subscriber, again)

    # ------------------------------------------------------------------ lines

    def _new_line(self, backoff: Backoff, delay_s: float = 0.0) -> Line:
        line = Line(self._session, self._budget, backoff, self, delay_s)
        self._lines.append(line)
        return line

    def _carry(self, subscriber: Subscriber, line: Line) -> None:
        streams = line.made(subscriber.symbol, subscriber.receiver, forwards=True)
        subscriber.carry(line, streams)
        line.add(streams)

    def _parted(self, line: Line, homeless: list[Subscriber]) -> list[list[Subscriber]]:
        """Who are to share a line again; not all, if the frames of one may be what ends it again and again."""
        half = len(homeless) // 2
        suspicious = line.connected_ns is not None and line.backoff.failures >= _SUSPICIOUS
        if not half or not suspicious or len(self._lines) >= self._most_lines() + _SPARE_LINES:
            return [homeless]
        return [homeless[:half], homeless[half:]]

    def _line_with_room_for(self, symbol: str) -> Line | None:
        return next((line for line in self._lines if line.has_room_for(symbol)), None)

    def _renew(self, subscriber: Subscriber, reason: str) -> None:
        old = subscriber.line
        assert old is not None
        subscriber.lose(reason)
        old.remove(subscriber.symbol)
        self._drop_standby(subscriber.symbol)
        delay_s = subscriber.backoff.failed()
        line = self._refuge(old, subscriber.symbol)
        if line is None:
            line = self._refuges[old] = self._new_line(Backoff(), delay_s)
            self._again.add(line)
        self._carry(subscriber, line)
        self._end_if_empty(old)
        self._tell.renewed(subscriber.symbol, reason)

    def _refuge(self, old: Line, symbol: str) -> Line | None:
        """A line for a symbol that leaves `old`: one that others who leave it await, or any if there are many."""
        awaited = self._refuges.get(old)
        if awaited in self._lines and awaited.connected_ns is None and awaited.has_room_for(symbol):
            return awaited  # a line that is dead for all is left by all at once: one dial serves them
        if len(self._lines) < self._most_lines():
            return None
        return self._line_with_room_for(symbol)

    def _symbols_per_line(self) -> int:
        quirks = self._session.quirks
        return max(1, quirks.subscriptions_per_connection // len(streams_of(quirks)))

    def _most_lines(self) -> int:
        return 2 * -(-len(self._subscribers) // self._symbols_per_line()) + _SPARE_LINES

    def _end_if_empty(self, line: Line) -> None:
        if not line.streams and line in self._lines:
            self._end(line)

    def _end(self, line: Line) -> None:
        self._lingering.pop(line, None)
        if line not in self._lines:
            return
        self._lines.remove(line)
        self._again.discard(line)
        self._retire_ns.pop(line, None)
        self._frames_before += line.frames
        task = asyncio.create_task(line.end())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    # ------------------------------------------------------------------ replacing lines before they end

    async def _check(self) -> None:
        while True:
            await asyncio.sleep(_CHECK_EVERY_S)
            try:
                self._check_lines(boot_ns())
            except Exception as error:  # noqa: BLE001  # ours: it counts as one, and nobody else notices silence
                context = {"message": "lines could not be looked after", "exception": error}
                asyncio.get_running_loop().call_exception_handler(context)

    def _check_lines(self, now_ns: int) -> None:
        for line in list(self._lines):
            line.check(now_ns)
        for replacement in list(self._replacements):
            if replacement.is_due(now_ns):
                self._take_over(replacement, now_ns)
        for line in [line for line, until_ns in self._lingering.items() if now_ns >= until_ns]:
            self._end(line)
        for line in [line for line in self._settled() if now_ns >= self._retires_ns(line)]:
            self._replace([line], now_ns)
        self._replace_spare(now_ns)

    def _settled(self) -> list[Line]:
        """Lines that carry symbols, and are not being replaced or replacing others."""
        busy = {id(line) for each in self._replacements for line in (*each.old, each.new)}
        return [
            line
            for line in self._lines
            if line.is_open and id(line) not in busy and line not in self._lingering and line.streams
        ]

    def _retires_ns(self, line: Line) -> int:
        if line not in self._retire_ns:
            assert line.connected_ns is not None
            life_s = self._session.quirks.connection_life_s * random.uniform(*_LIFE)
            self._retire_ns[line] = line.connected_ns + int(life_s * _NS)
        return self._retire_ns[line]

    def _replace(self, old: list[Line], now_ns: int) -> None:
        new = self._new_line(old[0].backoff)
        standby: dict[str, SymbolStreams] = {}
        for line in old:
            line.takes_more = False
            for symbol in line.streams:
                receiver = self._subscribers[symbol].receiver
                standby[symbol] = new.made(symbol, receiver, forwards=False)
                new.add(standby[symbol])
        new.takes_more = False
        self._replacements.append(Replacement(old, new, standby, now_ns + int(READY_S * _NS)))

    def _replace_spare(self, now_ns: int) -> None:
        """Gather the symbols of lines that carry few, once there are many such lines."""
        per_line = self._symbols_per_line()
        few = [
            line
            for line in self._settled()
            if len(line.streams) * 2 <= per_line and now_ns - (line.connected_ns or now_ns) > HEALTHY_S * _NS
        ]
        if len(few) <= _SPARE_LINES:
            return
        gathered: list[Line] = []
        for line in few:
            if sum(len(other.streams) for other in (*gathered, line)) <= per_line:
                gathered.append(line)
        self._replace(gathered, now_ns)

    def _take_over(self, replacement: Replacement, now_ns: int) -> None:
        self._replacements.remove(replacement)
        ready = [symbol for symbol, streams in replacement.standby.items() if streams.is_ready]
        for symbol in ready:
            subscriber = self._subscribers[symbol]
            if subscriber.streams is not None:
                subscriber.streams.forwards = False  # but trades, as long as the line lingers
            self._switch(subscriber, replacement.new, replacement.standby.pop(symbol))
        for symbol in list(replacement.standby):
            replacement.drop(symbol)
        replacement.new.takes_more = True
        self._end_if_empty(replacement.new)
        for line in replacement.old:
            if any(subscriber.line is line for subscriber in self._subscribers.values()):
                for symbol in ready:
                    line.remove(symbol)
                self._keep(line, now_ns)
            else:
                self._lingering[line] = now_ns + int(LINGER_S * _NS)
        if ready:
            self._tell.replaced(ready)

    def _switch(self, subscriber: Subscriber, line: Line, streams: SymbolStreams) -> None:
        """Streams that waited are those of the symbol from now on."""
        subscriber.carry(line, streams)
        streams.activate()
        if subscriber.told_lost and streams.is_up:
            subscriber.restore()

    def _keep(self, line: Line, now_ns: int) -> None:
        """A line that could not be replaced goes on for a while."""
        if line in self._lines:  # all its symbols may have been renewed elsewhere meanwhile
            line.takes_more = True
            self._retire_ns[line] = now_ns + int(_AGAIN_S * _NS)

    def _take_standby(self, subscriber: Subscriber) -> bool:
        """Make do with streams that were to replace those which are lost now; False if there are none."""
        for replacement in self._replacements:
            streams = replacement.standby.pop(subscriber.symbol, None)
            if streams is not None and not replacement.new.is_lost:
                self._switch(subscriber, replacement.new, streams)
                return True
        return False

    def _drop_standby(self, symbol: str) -> None:
        for replacement in self._replacements:
            replacement.drop(symbol)

    def _forget_in_replacements(self, line: Line) -> None:
        """A line is lost, whichever part it had in a replacement."""
        for replacement in list(self._replacements):
            if line is replacement.new:
                self._replacements.remove(replacement)
                for old in replacement.old:
                    self._keep(old, boot_ns())
            elif line in replacement.old:
                replacement.old.remove(line)
