"""Whatever is not a message is named as such, and raises nothing else. What survives the wire: test_wire."""

from __future__ import annotations

import contextlib
import io
from decimal import Decimal

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from levibot.bus import messages
from levibot.bus.codec import (
    TICK,
    Decoder,
    FrameDecoder,
    encode,
    read_records,
    topic,
    write_record,
)
from levibot.errors import MalformedMessageError
from tests.bus.examples import MESSAGE_TYPES, messages_of

UNIONS = [
    messages.FeedRequest,
    messages.FeedReply,
    messages.RiskAnswer,
    messages.OrderEvent,
    messages.BrokerRequest,
    messages.BrokerReply,
    messages.Command,
    messages.WorkerMessage,
    messages.MarketEvent,
    messages.Heartbeat,
    messages.RiskRequest,
    messages.PredictRequest,
    messages.InferenceReply,
    messages.Tick,
    messages.Bar,
]
FILL = ["f-1", "1.5", "100", "0.1", "USDT", "taker"]


@pytest.mark.parametrize("union", UNIONS, ids=str)
@given(body=st.binary(max_size=200))
def test_random_bytes_are_malformed_or_a_message_and_raise_nothing_else(union: object, body: bytes) -> None:
    with contextlib.suppress(MalformedMessageError):
        assert isinstance(Decoder(union)(body), messages.Message)


@given(data=st.data())
@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
def test_a_truncated_or_damaged_message_is_malformed_or_a_message(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(MESSAGE_TYPES))
    body = bytearray(encode(data.draw(messages_of(kind))))
    cut = data.draw(st.integers(0, len(body) - 1))
    with pytest.raises(MalformedMessageError):
        Decoder(kind)(bytes(body[:cut]))
    body[cut] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(MalformedMessageError):
        assert isinstance(Decoder(kind)(bytes(body)), messages.Message)


@given(data=st.binary(max_size=80))
def test_a_random_frame_is_malformed_or_a_market_message(data: bytes) -> None:
    decode = FrameDecoder()
    for candidate in (data, topic(TICK, "BTC/USDT") + data):
        with contextlib.suppress(MalformedMessageError):
            decode(candidate)


@pytest.mark.parametrize("quantity", ["NaN", "sNaN", "Infinity", "-Infinity", "", "one", None, float("nan")])
def test_money_must_be_a_finite_decimal(quantity: object) -> None:
    body = msgspec.msgpack.encode([FILL[0], quantity, *FILL[2:]])
    with pytest.raises(MalformedMessageError):
        Decoder(messages.Fill)(body)


def test_the_error_names_the_type_the_field_and_the_size() -> None:
    body = msgspec.msgpack.encode([FILL[0], "NaN", *FILL[2:]])
    with pytest.raises(MalformedMessageError, match=rf"{len(body)} bytes .*Fill.*quantity is NaN"):
        Decoder(messages.Fill)(body)


def test_text_that_is_not_utf8_is_malformed() -> None:
    body = encode(messages.SnapshotRefused(1, "BTC/USDT", "wait")).replace(b"wait", b"w\xffit")
    with pytest.raises(MalformedMessageError, match="utf-8"):
        Decoder(messages.FeedReply)(body)


def test_a_message_deeper_than_the_stack_is_malformed() -> None:
    with pytest.raises(MalformedMessageError):
        Decoder(messages.BrokerReply)(b"\x91" * 100_000 + b"\xc0")


def test_a_newer_sender_may_append_fields() -> None:
    body = msgspec.msgpack.encode([*FILL, "from a newer version"])
    assert Decoder(messages.Fill)(body).quantity == Decimal("1.5")


def test_an_unknown_topic_is_malformed() -> None:
    tick = messages.Tick("BTC/USDT", 1, 1, 0, 0, 0, 1.0, 1.1, 1.05)
    for data in (b"", b"tick.BTC/USDT", b"news.BTC/USDT\0" + encode(tick), b"\0" + encode(tick)):
        with pytest.raises(MalformedMessageError, match="unknown topic"):
            FrameDecoder()(data)


RECORDS = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(records=st.lists(RECORDS, max_size=5), cut=st.integers(0, 10))
def test_records_are_read_back_and_a_truncated_last_one_is_left_out(records: list[object], cut: int) -> None:
    stream = io.BytesIO()
    ends = [0]
    for record in records:
        write_record(stream, record)
        ends.append(stream.tell())
    size = max(0, stream.tell() - cut)
    whole = sum(end <= size for end in ends[1:])
    assert list(read_records(io.BytesIO(stream.getvalue()[:size]))) == records[:whole]


def test_a_stream_that_is_not_records_says_so_after_the_good_ones() -> None:
    stream = io.BytesIO()
    write_record(stream, {"seq": 1})
    stream.write(b"\xc1\xc1\xc1")
    stream.seek(0)
    records = read_records(stream)
    assert next(records) == {"seq": 1}
    with pytest.raises(MalformedMessageError, match="not a stream of records"):
        next(records)
