"""A socket is private, replaces a dead one, and is read to its last message."""

from __future__ import annotations

import asyncio
import random
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import zmq

from levibot.bus.sockets import AsyncReader, BatchSender, drain, ipc, make_socket, send
from tests.deadline import wait_for

Context = zmq.Context[zmq.Socket[bytes]]

BIND_AND_WAIT = """
import sys, zmq
from levibot.bus.sockets import make_socket
socket = make_socket(zmq.Context(), zmq.ROUTER, bind=sys.argv[1])
print("bound", flush=True)
sys.stdin.read()
"""


def test_a_bound_socket_is_private_whatever_the_umask(context: Context, run_dir: Path) -> None:
    path = run_dir / "control"
    make_socket(context, zmq.ROUTER, bind=ipc(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_socket_file_of_a_killed_process_is_replaced(context: Context, run_dir: Path) -> None:
    path = run_dir / "control"
    holder = subprocess.Popen(
        [sys.executable, "-c", BIND_AND_WAIT, ipc(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"bound\n"
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    assert path.is_socket()
    router = make_socket(context, zmq.ROUTER, bind=ipc(path))
    dealer = make_socket(context, zmq.DEALER, connect=ipc(path), identity=b"feed")
    dealer.send(b"hello")
    assert router.poll(60_000)
    assert router.recv_multipart() == [b"feed", b"hello"]


def test_a_new_incarnation_takes_over_the_identity_of_one_that_still_hangs(
    context: Context, run_dir: Path
) -> None:
    endpoint = ipc(run_dir / "control")
    router = make_socket(context, zmq.ROUTER, bind=endpoint)
    old = make_socket(context, zmq.DEALER, connect=endpoint, identity=b"engine-BTC-USDT")
    old.send(b"old")
    assert router.recv_multipart() == [b"engine-BTC-USDT", b"old"]
    new = make_socket(context, zmq.DEALER, connect=endpoint, identity=b"engine-BTC-USDT")
    new.send(b"new")
    assert router.recv_multipart() == [b"engine-BTC-USDT", b"new"]
    assert send(router, b"engine-BTC-USDT", b"stop")
    assert new.poll(60_000)
    assert new.recv() == b"stop"
    assert not old.poll(50)


def test_sending_never_blocks_and_says_when_it_failed(context: Context, run_dir: Path) -> None:
    endpoint = ipc(run_dir / "nobody")
    pusher = make_socket(context, zmq.PUSH, connect=endpoint, high_water_mark=3)
    assert [send(pusher, b"beat") for _ in range(5)] == [True, True, True, False, False]


def test_frames_of_one_turn_leave_at_its_end_in_order_and_sooner_if_there_are_many(
    context: Context, run_dir: Path
) -> None:
    puller = make_socket(context, zmq.PULL, bind=ipc(run_dir / "frames"))
    pusher = make_socket(context, zmq.PUSH, connect=ipc(run_dir / "frames"))
    frames = [str(number).encode() for number in range(100)]
    sent: list[bytes] = []
    in_turn: list[int] = []

    class Noted:
        def send(self, frame: bytes, flags: int) -> None:
            sent.append(frame)
            pusher.send(frame, flags)

    async def publish() -> None:
        sender = BatchSender(asyncio.get_running_loop(), Noted())  # type: ignore[arg-type]
        for frame in frames[:3]:
            sender.send(frame)
        in_turn.append(len(sent))
        await asyncio.sleep(0)
        in_turn.append(len(sent))
        for frame in frames[3:]:
            sender.send(frame)
        in_turn.append(len(sent))
        await asyncio.sleep(0)

    asyncio.run(publish())
    assert in_turn == [0, 3, 99]
    assert [puller.recv() for _ in frames] == frames


def test_drain_is_bounded_and_leaves_the_rest(context: Context, run_dir: Path) -> None:
    puller = make_socket(context, zmq.PULL, bind=ipc(run_dir / "beats"))
    pusher = make_socket(context, zmq.PUSH, connect=ipc(run_dir / "beats"))
    for number in range(10):
        pusher.send(str(number).encode())
    received: list[bytes] = []

    def four_came() -> bool:
        received.extend(frames[0] for frames in drain(puller, 4 - len(received)))
        return len(received) == 4

    wait_for(four_came, "four messages")
    wait_for(lambda: received.extend(frames[0] for frames in drain(puller)) or len(received) == 10, "the rest")
    assert received == [str(number).encode() for number in range(10)]


class Peer(threading.Thread):
    """Sends bursts, each only when the last message of the one before has been seen; answers requests meanwhile.

    So one message that waits unseen stops it for good.
    """

    def __init__(self, context: Context, endpoint: str, bursts: int) -> None:
        super().__init__(daemon=True)
        self._router = make_socket(context, zmq.ROUTER, bind=endpoint)
        self._bursts = bursts
        self._random = random.Random(7)
        self._seen = 0
        self.sent = 0
        self.answered = 0

    def run(self) -> None:
        peer = self._router.recv_multipart()[0]
        for _ in range(self._bursts):
            for _ in range(self._random.choice((1, 1, 2, 50))):
                self.sent += 1
                self._router.send_multipart([peer, b"push", str(self.sent).encode()])
                self._answer()
            while self._seen < self.sent and self._router.poll(60_000):
                self._answer()
            time.sleep(self._random.choice((0, 0, 0.0001, 0.0003)))
        self._router.close()

    def _answer(self) -> None:
        for peer, kind, body in drain(self._router):
            if kind == b"seen":
                self._seen = int(body)
            else:
                self.answered += 1
                self._router.send_multipart([peer, b"answer", body])


async def follow(context: Context, endpoint: str, peer: Peer) -> tuple[list[int], list[int], int]:
    """Read the bursts while sending requests; pushes and answers seen, and the number of requests."""
    dealer = make_socket(context, zmq.DEALER, connect=endpoint, identity=b"engine")
    pushes: list[int] = []
    answers: list[int] = []

    def handle(frames: list[bytes]) -> None:
        if frames[0] == b"push":
            pushes.append(int(frames[1]))
            send(dealer, b"seen", frames[1])
        else:
            answers.append(int(frames[1]))

    reader = AsyncReader(asyncio.get_running_loop(), dealer, handle)
    send(dealer, b"request", b"0")
    reader.poke()
    requests = 0
    end = time.monotonic() + 30
    while peer.is_alive() and time.monotonic() < end:
        if len(answers) == requests:
            requests += 1
            send(dealer, b"request", str(requests).encode())
            reader.poke()
        await asyncio.sleep(random.choice((0, 0, 0.0002)))
    reader.poke()
    reader.close()
    dealer.close()
    return pushes, answers, requests


def test_the_reader_misses_no_message_while_its_owner_sends_too(context: Context, run_dir: Path) -> None:
    endpoint = ipc(run_dir / "peer")
    peer = Peer(context, endpoint, bursts=1500)
    peer.start()
    pushes, answers, requests = asyncio.run(follow(context, endpoint, peer))
    assert not peer.is_alive()
    assert pushes == list(range(1, peer.sent + 1))
    assert answers == list(range(1, peer.answered + 1))
    assert peer.answered >= requests - 1 > 100


def read_all(context: Context, endpoint: str, count: int, handle: Any) -> list[dict[str, Any]]:
    """Let a reader see `count` messages that were all there before it began; what its loop complained of."""
    complaints: list[dict[str, Any]] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _loop, details: complaints.append(details))
        puller = make_socket(context, zmq.PULL, bind=endpoint)
        pusher = make_socket(context, zmq.PUSH, connect=endpoint)
        for number in range(count):
            pusher.send(str(number).encode())
        while not puller.poll(0):
            await asyncio.sleep(0)
        reader = AsyncReader(loop, puller, handle)
        end = time.monotonic() + 10
        while handle.seen < count and time.monotonic() < end:
            await asyncio.sleep(0.001)
        reader.close()
        pusher.close()
        puller.close()

    asyncio.run(main())
    return complaints


class Counter:
    """Counts messages; raises at every one of those in `bad`."""

    def __init__(self, *bad: bytes) -> None:
        self.seen = 0
        self._bad = bad

    def __call__(self, frames: list[bytes]) -> None:
        self.seen += 1
        if frames[0] in self._bad:
            raise ValueError(f"message {frames[0]!r} is bad")


def test_messages_from_before_the_reader_are_read_however_many(context: Context, run_dir: Path) -> None:
    counter = Counter()
    assert read_all(context, ipc(run_dir / "beats"), 3500, counter) == []
    assert counter.seen == 3500


def test_a_handler_that_raises_is_reported_and_the_next_message_is_read(context: Context, run_dir: Path) -> None:
    counter = Counter(b"0", b"7")
    complaints = read_all(context, ipc(run_dir / "beats"), 20, counter)
    assert counter.seen == 20
    assert [str(details["exception"]) for details in complaints] == [
        "message b'0' is bad",
        "message b'7' is bad",
    ]


def test_a_closed_reader_calls_nobody(context: Context, run_dir: Path) -> None:
    seen: list[bytes] = []

    async def main() -> None:
        puller = make_socket(context, zmq.PULL, bind=ipc(run_dir / "beats"))
        pusher = make_socket(context, zmq.PUSH, connect=ipc(run_dir / "beats"))
        reader: AsyncReader

        def handle(frames: list[bytes]) -> None:
            seen.append(frames[0])
            reader.close()

        reader = AsyncReader(asyncio.get_running_loop(), puller, handle)
        pusher.send(b"first")
        pusher.send(b"second")
        while not seen:
            await asyncio.sleep(0.001)
        reader.close()
        pusher.send(b"third")
        await asyncio.sleep(0.05)
        assert puller.poll(1000)

    asyncio.run(main())
    assert seen == [b"first"]


@pytest.mark.parametrize("name", ["x" * 120])
def test_a_path_too_long_for_a_socket_is_refused(context: Context, run_dir: Path, name: str) -> None:
    with pytest.raises(zmq.ZMQError):
        make_socket(context, zmq.ROUTER, bind=ipc(run_dir / name))
    assert list(run_dir.iterdir()) == []
