"""Looks for the model that is current and makes it ready for use, beside the loop that serves another."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path

from levibot.clock import boot_ns
from levibot.errors import ModelError
from levibot.ml.lanes import Lane
from levibot.ml.manifest import MANIFEST
from levibot.ml.service import Served
from levibot.ml.store import ModelStore

_LOOK_SECONDS = 0.5
_RETRY_NS = 5_000_000_000
_FAREWELL_SECONDS = 1.0


class ModelWatch:
    """Finds, loads and warms models in a thread, so that no request waits for that.

    Parameters
    ----------
    store
        Where models lie.
    name
        Of the model.
    lane
        Its kind.
    exchange
        Whose markets the model must have been trained on.
    context
        Leading market that engines are told of, and that its features must be of; empty: there is none, and
        those features are missing.
    batch
        Most rows that are predicted in one go: a new model is warmed with so many.
    wake
        Called from the thread after the first look, and when there is a model to `take` or another `trouble`.
    """

    def __init__(
        self,
        store: ModelStore,
        name: str,
        lane: Lane,
        exchange: str,
        context: str,
        *,
        batch: int,
        wake: Callable[[], None],
    ) -> None:
        self.looked = False  # at least once
        self.trouble = ""  # why there is no model, or why the one that is current is not used
        self._store = store
        self._name = name
        self._lane = lane
        self._exchange = exchange
        self._context = context
        self._batch = batch
        self._wake = wake
        self._fresh: deque[Served] = deque(maxlen=1)  # between two threads: append and pop are atomic
        self._loaded: Path | None = None
        self._failed: Path | None = None
        self._retry_ns = 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="model-watch", daemon=True)

    def start(self) -> None:
        """Begin to look, about twice a second."""
        self._thread.start()

    def take(self) -> Served | None:
        """The newest model, once."""
        try:
            return self._fresh.pop()
        except IndexError:
            return None

    def close(self) -> None:
        """Stop looking."""
        self._end.set()
        self._thread.join(_FAREWELL_SECONDS)

    def look(self, now_ns: int) -> None:
        """Look once. A version never changes, so one that did not load is tried again only now and then."""
        absence = "" if self._loaded else self._lane.absence()
        if absence:
            self.trouble = absence
            return
        try:
            path = self._store.current(self._name)
        except ModelError as error:
            self.trouble = self._but_serving(str(error))
            return
        if path is None:
            gone = f"{self._store.folder / self._name} has no current version any more"
            self.trouble = self._but_serving(gone) if self._loaded else self._missing()
        elif path == self._loaded:
            self.trouble = ""
        elif path != self._failed or now_ns >= self._retry_ns:
            self._load(path, now_ns)

    def _load(self, path: Path, now_ns: int) -> None:
        try:
            model = self._lane.load(path, self._exchange)
            self._check_context(path, model)
            model.warm(self._batch)
        except Exception as error:  # noqa: BLE001 -- whatever is wrong with it, the old model serves on
            self._failed, self._retry_ns = path, now_ns + _RETRY_NS
            words = str(error) if isinstance(error, ModelError) else f"{path}: {type(error).__name__}: {error}"
            self.trouble = self._but_serving(words)
            return
        self._loaded, self._failed = path, None
        self._fresh.append(model)
        self.trouble = ""

    def _check_context(self, path: Path, model: Served) -> None:
        trained = model.manifest.context
        if trained and self._context and trained != self._context:
            raise ModelError(
                path / MANIFEST,
                f"has features of {trained} as the leading market, [feed] context is {self._context}; "
                "correct that, or train again",
            )

    def _missing(self) -> str:
        versions = self._store.versions(self._name)
        if versions:
            command = f"levibotctl models promote {self._name}"
            return f"{self._name}/{versions[-1]} is stored but not promoted; run `{command}`"
        return f"no model {self._name} yet; run `{self._lane.training}`"

    def _but_serving(self, trouble: str) -> str:
        return f"{trouble}; {self._loaded.name} serves on" if self._loaded else trouble

    def _watch(self) -> None:
        while not self._end.is_set():
            before = self.trouble
            try:
                self.look(boot_ns())
            except OSError as error:
                self.trouble = self._but_serving(f"the models cannot be read: {error}")
            first, self.looked = not self.looked, True
            if first or self._fresh or self.trouble != before:
                self._wake()
            self._end.wait(_LOOK_SECONDS)
