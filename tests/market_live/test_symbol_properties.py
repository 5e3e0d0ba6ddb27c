"""Whatever streams and REST do, in whatever order: no bar is lost, doubled or wrong, and no trade comes twice.

Frames are lost, late, repeated and out of order, streams break and come back, REST answers late, short or
about a moment that is gone. All of it is drawn from one true tape of trades, which is what must come out.
"""

from __future__ import annotations

import math
import os
from collections import Counter

import pytest
from hypothesis import Phase, given, note, settings
from hypothesis import strategies as st

from levibot.exchange.candles import closed_until_ms
from levibot.exchange.validation import PublicTrade
from levibot.market.bars import MINUTE_MS, Candle
from levibot.market.path import Correction, Item, TradeBatch
from tests.market_live.driven import START_MS, WITH_IDS, WITHOUT_IDS, Driven
from tests.market_live.true_market import TrueMarket

_EXAMPLES = 2_000 if os.environ.get("LEVIBOT_TEST_LONG") else 150
_HZ = 10.0
_ALL = 10_000
Frame = tuple[PublicTrade, ...]

# what happens, and how often; each takes a number that says how much, which or how long
_HAPPENINGS = (
    *["trade"] * 6,
    *["deliver_first"] * 4,
    *["pass_a_moment"] * 4,
    *["pass_time"] * 3,
    *["bring_bars"] * 2,
    *["quote"] * 2,
    "deliver_any",
    "repeat",
    "lose_a_frame",
    "lose_the_streams",
    "restore",
    "restore",
    "renew",
    "bring_trades",
    *["ask_trades"] * 2,
    *["answer_trades"] * 3,
    "check_bars",
    "confirm",
)
_SCRIPTS = st.lists(st.tuples(st.sampled_from(_HAPPENINGS), st.integers(0, 99)), min_size=20, max_size=120)


class World(Driven):
    """One symbol, its exchange and the lines between them."""

    def __init__(self, *, with_ids: bool, has_empty_bars: bool, begun_ms: int) -> None:
        super().__init__(WITH_IDS if with_ids else WITHOUT_IDS, live_tick_hz=_HZ)
        self.with_ids = with_ids
        self.market = TrueMarket(with_ids=with_ids, has_empty_bars=has_empty_bars)
        self.on_its_way: list[Frame] = []
        self.delivered: list[Frame] = []
        self.lost: set[PublicTrade] = set()  # on an open connection
        self.connected = False
        self.whole_answers = True
        self.question: tuple[int, Frame] | None = None  # to REST: when it was asked, and what it will say
        self.by_rest = False
        self.market.trade(-700_000, 100.0, 1.0)
        self.go(begun_ms, 500)
        self.restore(0)
        self.since = len(self.market.tape)

    # ------------------------------------------------------------------ the market

    def trade(self, number: int) -> None:
        frame = tuple(
            self.market.trade(self.now_ms, 100.0 + number % 7 - one % 3, (number + one // 2) % 8 / 4 + 0.25)
            for one in range(number % 5 + 1)
        )
        if self.connected:
            self.on_its_way.append(frame)
        self.now_ms += 1  # or two frames would hold trades that cannot be told apart

    def pass_a_moment(self, number: int) -> None:
        self.go(self.now_ms + 10 * number, 50)

    def pass_time(self, number: int) -> None:
        self.go(self.now_ms + 500 * number, 250)

    # ------------------------------------------------------------------ streams

    def deliver_first(self, number: int) -> None:
        for _ in range(number % 4 + 1):
            self.deliver(0)

    def deliver_any(self, number: int) -> None:
        self.deliver(number % 4)

    def deliver(self, place: int) -> None:
        if self.on_its_way:
            frame = self.on_its_way.pop(min(place, len(self.on_its_way) - 1))
            self.trades(*frame)
            self.delivered.append(frame)

    def repeat(self, number: int) -> None:
        if self.delivered and self.connected:
            self.trades(*self.delivered[-1 - number % min(5, len(self.delivered))])

    def lose_a_frame(self, number: int) -> None:
        if self.on_its_way:
            self.lost.update(self.on_its_way.pop(0))

    def lose_the_streams(self, number: int) -> None:
        if self.connected:
            self.connected = False
            newest_ms = max((one.event_ms for frame in self.delivered for one in frame), default=0)
            # what was overtaken by more than a second is lost like on an open connection
            self.lost.update(one for frame in self.on_its_way for one in frame if one.event_ms < newest_ms - 1_000)
            self.on_its_way.clear()
            self.feed.on_lost("reset by peer")

    def restore(self, number: int) -> None:
        if not self.connected:
            self.connected = True
            self.feed.on_restored()

    def renew(self, number: int) -> None:
        if self.connected:
            self.feed.doubt("REST shows something else")
            self.pass_a_moment(number)
            self.lose_the_streams(0)
            self.restore(0)

    # ------------------------------------------------------------------ REST

    def ask_trades(self, number: int) -> None:
        self.question = self.now_ns(), tuple(self.market.tape[-(1 + number % 40 // 4) :])

    def answer_trades(self, number: int) -> None:
        if self.question is not None:
            asked_ns, answer = self.question
            self.question = None
            self.whole_answers = self.whole_answers and len(answer) == len(self.market.tape)
            self.feed.add_trades(answer, asked_ns)

    def bring_trades(self, number: int) -> None:
        if self.feed.wants_trades:
            self.feed.add_trades(tuple(self.market.tape), self.now_ns())

    def bring_bars(self, number: int) -> None:
        from_ms, until_ms = self.feed.bars_from_ms, closed_until_ms(self.exchange_ms())
        if from_ms is not None and until_ms > from_ms:
            self.by_rest = True
            self.feed.add_bars(self.market.shown_bars(from_ms, until_ms - START_MS), until_ms)
            self.by_rest = False

    def check_bars(self, number: int) -> None:
        from_ms, until_ms = self.feed.unchecked_ms, closed_until_ms(self.exchange_ms())
        if from_ms is not None and until_ms > from_ms:
            self.feed.check_bars(self.market.shown_bars(from_ms, until_ms - START_MS), until_ms)

    def confirm(self, number: int) -> None:
        self.feed.confirm_quotes()
        self.feed.confirm_trades()

    def quote_now(self, number: int) -> None:
        self.quote(90.0 - number / 10, 100.0)

    # ------------------------------------------------------------------ what must come out

    def published(self) -> Counter[PublicTrade]:
        """The trades that were published."""
        return Counter(
            PublicTrade(one.trade_id or None, one.event_ms, one.side, one.price, one.amount)
            for batch in self.items(TradeBatch)
            for one in batch.trades
        )

    def check_bar(self, bar: Candle) -> None:
        """A bar that is made from trades is right when it is published, unless nobody could know better."""
        true = self.market.bars(self.now_ms)[(bar.open_ms - START_MS) // MINUTE_MS]
        if bar[1:6] == true[1:6] or (bar.synthetic and true.synthetic):
            return
        if not self.with_ids and (bar.high, bar.low, bar.volume) == (true.high, true.low, true.volume):
            return  # which of two trades of one millisecond came first, only ids tell
        own = {one for one in self.market.tape if one.event_ms // MINUTE_MS == bar.open_ms // MINUTE_MS}
        late = {one for frame in self.on_its_way for one in frame}
        assert own & (late | self.unnoticed()), f"{bar} instead of {true}"

    def check_flow(self, bar: Candle) -> None:
        """What a bar says of the trades of its minute is true, or it says that it does not know."""
        own = [one for one in self.market.tape if bar.open_ms <= one.event_ms < bar.close_ms]
        if not math.isnan(bar.trades):
            bought = sum(one.amount for one in own if one.side == "buy")
            assert (bar.trades, bar.buy_volume) == (len(own), pytest.approx(bought))

    def check_forming(self) -> None:
        """A forming bar that is shown has all trades, but those that are on their way."""
        forming = self.feed.forming()
        if forming is None or self.on_its_way or self.unnoticed() or not self.connected:
            return
        own = [one.amount for one in self.market.tape if one.event_ms // MINUTE_MS == forming[0] // MINUTE_MS]
        assert forming[1] == pytest.approx(sum(own))

    def unnoticed(self) -> set[PublicTrade]:
        """Trades that were lost without a sign: no later one has come, or there are no ids to show it."""
        if not self.with_ids:
            return self.lost
        newest = max((int(one.id or 0) for frame in self.delivered for one in frame), default=0)
        return {one for one in self.lost if int(one.id or 0) > newest}

    def mend(self) -> None:
        """All is well again: then all that happened is known."""
        self.restore(0)
        while self.on_its_way:
            self.deliver(0)
        for _ in range(2):  # a bar that an exchange does not tell may only be late, until a minute later
            self.trade(0)  # shows what was lost just before
            self.deliver(0)
            self.pass_a_moment(50)
            self.quote_now(0)
            self.bring_trades(0)
            self.go(self.now_ms + MINUTE_MS - self.now_ms % MINUTE_MS + 3_000)
            self.bring_bars(0)
            self.check_bars(0)
        for _ in range(6):  # long enough for a market that had a relapse
            self.quote_now(1)
            self.go(self.now_ms + 1_000)

    def _publish(self, event_ms: int, item: Item) -> None:
        super()._publish(event_ms, item)
        if isinstance(item, Candle) and not self.by_rest:
            self.check_bar(item)


@settings(max_examples=_EXAMPLES, phases=set(Phase) - {Phase.explain})
@given(_SCRIPTS, st.booleans(), st.booleans(), st.integers(0, 59_999))
def test_what_comes_out_is_what_truly_happened(
    script: list[tuple[str, int]], with_ids: bool, has_empty_bars: bool, begun_ms: int
) -> None:
    note(f"{script=} {with_ids=} {has_empty_bars=} {begun_ms=}")
    world = World(with_ids=with_ids, has_empty_bars=has_empty_bars, begun_ms=begun_ms)
    for happening, number in script:
        getattr(world, "quote_now" if happening == "quote" else happening)(number)
        world.check_forming()
    world.mend()

    world.check_promises(_HZ)
    assert world.feed.state == "live"
    assert not world.feed.wants_trades
    assert world.feed.bars_from_ms is None
    assert world.feed.unchecked_ms is None

    bars = {bar.open_ms: bar for bar in world.items(Candle)}
    bars.update((item.candle.open_ms, item.candle) for item in world.items(Correction))
    assert [bar[:7] for bar in bars.values()] == [bar[:7] for bar in world.market.bars(world.now_ms)]
    for bar in bars.values():
        world.check_flow(bar)

    published, tape = world.published(), Counter(world.market.tape)
    assert not published - tape, "a trade came twice, or never was"
    if world.whole_answers and (with_ids or not world.lost):
        assert not Counter(world.market.tape[world.since :]) - published, "a trade is missing"
