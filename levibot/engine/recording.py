"""Every input of a decision core on file, in the order consumed, and the way back from there to commands."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

import levibot
from levibot.bus.codec import read_records, write_record
from levibot.bus.messages import Role
from levibot.config import EngineConfig
from levibot.engine.commands import Command
from levibot.engine.core import DecisionCore
from levibot.engine.inputs import Input
from levibot.errors import GiveUpError
from levibot.strategies.loader import load_strategy

FORMAT = 3
_INPUT, _CLIENT_ID, _COMMAND = "input", "client_id", "command"


class RecordingError(GiveUpError):
    """A recording cannot be replayed; the text says why."""


@dataclass(frozen=True)
class Header:
    """What a core was made with.

    Attributes
    ----------
    symbol, engine, first_request_id, paused
        As of `DecisionCore`.
    worker, incarnation, started_ms
        Who recorded, and when (UTC).
    version
        Of LeviBot.
    """

    symbol: str
    engine: EngineConfig
    first_request_id: int
    paused: bool
    worker: str = ""
    incarnation: int = 0
    started_ms: int = 0
    version: str = levibot.__version__


class Recorder:
    """Writes a recording.

    Client order ids come from the ledger, so they are recorded as answers; commands are recorded too,
    so that a recording can be checked against itself. A disk that refuses a write ends the recording,
    nothing else.

    Parameters
    ----------
    stream
        Open for binary writing.
    header
        What the core was made with.

    Attributes
    ----------
    problem
        Why the recording has ended; empty while it goes on.
    """

    def __init__(self, stream: BinaryIO, header: Header) -> None:
        self.problem = ""
        self._stream = stream
        self._write({**vars(header), "engine": header.engine.model_dump(mode="json"), "format": FORMAT})

    def input(self, item: Input) -> None:
        """Write down what is about to be handled."""
        self._write([_INPUT, _plain(item)])

    def client_id(self, client_id: str | None) -> None:
        """Write down the answer to a request for a client order id."""
        self._write([_CLIENT_ID, client_id])

    def commands(self, commands: Iterable[Command]) -> None:
        """Write down what the input led to."""
        for command in commands:
            self._write([_COMMAND, _plain(command)])

    def flush(self) -> None:
        """Hand everything to the operating system: it survives the process from now on."""
        with self._noting_problems():
            self._stream.flush()

    def close(self) -> None:
        """Close the stream."""
        with self._noting_problems():
            self._stream.close()

    def _write(self, record: Any) -> None:
        if not self.problem:
            with self._noting_problems():
                write_record(self._stream, record)

    @contextmanager
    def _noting_problems(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.problem = str(error)


def replay(path: Path, folders: Iterable[Path] = ()) -> list[Command]:
    """Feed a recording to a new core; return its commands.

    Parameters
    ----------
    path
        The recording. A last record cut off by a crash is left out.
    folders
        Where the strategy's module is looked for.

    Raises
    ------
    RecordingError, MalformedMessageError
        If the file is no recording of this format.
    ConfigError
        If the strategy cannot be made any more.
    """
    with path.open("rb") as stream:
        records = read_records(stream)
        header = _header(path, records)
        entries = list(records)
    client_ids = iter([value for kind, value in entries if kind == _CLIENT_ID])
    strategy = load_strategy(header.engine.strategy, header.engine.strategy_options, folders)
    core = DecisionCore(
        header.symbol,
        header.engine,
        strategy,
        _answering(path, client_ids),
        first_request_id=header.first_request_id,
        paused=header.paused,
    )
    commands: list[Command] = []
    for kind, value in entries:
        if kind == _INPUT:
            commands += core.handle(msgspec.convert(value, Input))
    return commands


def recorded_commands(path: Path) -> list[Command]:
    """The commands that were issued while `path` was recorded."""
    with path.open("rb") as stream:
        records = read_records(stream)
        _header(path, records)
        return [msgspec.convert(value, Command) for kind, value in records if kind == _COMMAND]


def _header(path: Path, records: Iterator[Any]) -> Header:
    fields = next(records, None)
    if not isinstance(fields, dict) or fields.pop("format", None) != FORMAT:
        raise RecordingError(f"{path}: not a recording of format {FORMAT}; it was written by another version")
    fields["engine"] = EngineConfig.model_validate(fields["engine"])
    return Header(**fields)


def _answering(path: Path, client_ids: Iterator[str | None]) -> Callable[[Role], str | None]:
    def answer(role: Role) -> str | None:
        for client_id in client_ids:
            return client_id
        raise RecordingError(f"{path}: the core asks for one more client id ({role}) than was recorded")

    return answer


def _plain(item: Any) -> Any:
    return msgspec.to_builtins(item, builtin_types=(bytes,))
