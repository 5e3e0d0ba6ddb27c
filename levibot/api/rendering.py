"""The status document as bytes, made once for all who ask at the same time."""

from __future__ import annotations

from typing import Any

import orjson

from levibot.api.operations import Operations
from levibot.clock import boot_ns

_SHARED_NS = 20_000_000
_SHARE_OF_LOOP = 10  # a document that is long to make is shared longer, so that making it takes a tenth at most


def render(content: Any) -> bytes:
    """JSON of a document."""
    return orjson.dumps(content, default=str)


class SharedStatus:
    """The status document, up to some ten milliseconds old.

    Parameters
    ----------
    operations
        The supervisor.
    """

    def __init__(self, operations: Operations) -> None:
        self._operations = operations
        self._body: bytes | None = None
        self._good_until = 0
        self._generation = 0

    async def body(self) -> bytes:
        """JSON of the document."""
        if self._body is not None and boot_ns() < self._good_until:
            return self._body
        generation, began = self._generation, boot_ns()
        body = render(await self._operations.status())
        if generation == self._generation:
            took = boot_ns() - began
            self._body, self._good_until = body, began + took + max(_SHARED_NS, _SHARE_OF_LOOP * took)
        return body

    def forget(self) -> None:
        """Something was changed: nobody is told what was before, also not by a rendering under way."""
        self._generation += 1
        self._body = None
