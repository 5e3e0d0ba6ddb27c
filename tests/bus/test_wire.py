"""Whatever is sent arrives as it was, a message of each type and each kind of frame."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from levibot.bus import messages
from levibot.bus.codec import BAR, BOOK, MARKET, TICK, TRADES, Decoder, FlowDecoder, FrameDecoder, encode, frame
from tests.bus.examples import MESSAGE_TYPES, messages_of

pytestmark = pytest.mark.unmeasured

FRAMES = [(TICK, messages.Tick), (BAR, messages.Bar), (MARKET, messages.MarketGap)]
FLOWS = [(TRADES, messages.Trades), (BOOK, messages.Book)]
ONE_BY_ONE = settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize("kind", MESSAGE_TYPES, ids=lambda kind: kind.__name__)
@given(data=st.data())
@ONE_BY_ONE
def test_every_message_survives_the_wire(kind: type[messages.Message], data: st.DataObject) -> None:
    message = data.draw(messages_of(kind))
    assert Decoder(kind)(encode(message)) == message


@pytest.mark.parametrize(("prefix", "kind"), FRAMES, ids=lambda value: getattr(value, "__name__", str(value)))
@given(data=st.data())
@ONE_BY_ONE
def test_a_frame_survives_the_wire(prefix: bytes, kind: type[messages.Message], data: st.DataObject) -> None:
    message = data.draw(messages_of(kind))
    assert FrameDecoder()(frame(prefix, "BTC/USDT", message)) == message


@pytest.mark.parametrize(("prefix", "kind"), FLOWS, ids=lambda value: getattr(value, "__name__", str(value)))
@given(data=st.data())
@ONE_BY_ONE
def test_a_frame_of_trades_or_a_book_survives_the_wire(
    prefix: bytes, kind: type[messages.Message], data: st.DataObject
) -> None:
    message = data.draw(messages_of(kind))
    assert FlowDecoder()(frame(prefix, "BTC/USDT", message)) == message
