"""The one way to ask a provider over HTTP: bounded in time, size and number, and checked."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar
from urllib.parse import urlsplit

import aiohttp
import msgspec

from levibot.altdata.bucket import TokenBucket
from levibot.altdata.source import LONGEST_WAIT_S, Usage
from levibot.clock import boot_seconds
from levibot.errors import AltDataError, AltDataFault

T = TypeVar("T")

_TOO_MANY = 429
_AWAY = 503  # may say when it is back
_CHUNK = 65_536
_WAIT_S = 60.0  # after 429 without a time
_EXCERPT = 120  # characters of an answer that says why
_PAUSES_S = (0.5, 2.0)  # between attempts where the provider is in trouble


class HttpClient:
    """Requests to one provider; the errors are `AltDataError`, and hold no secret.

    Only what may pass by itself at once is tried again here: a lost connection and 5xx. After 429 nothing is sent
    until the time that the provider named.

    Parameters
    ----------
    name
        Of the source, for errors.
    url
        What paths are appended to.
    timeout_s
        Seconds that one attempt may take.
    bucket
        Our own rate limit.
    max_bytes
        Most bytes of an answer, unpacked.
    accept
        Types of content that are wanted.
    pauses_s
        Seconds between attempts; so many more are made.
    """

    def __init__(
        self,
        name: str,
        url: str,
        *,
        timeout_s: float,
        bucket: TokenBucket,
        max_bytes: int = 2_000_000,
        accept: str = "application/json",
        pauses_s: Sequence[float] = _PAUSES_S,
    ) -> None:
        self.usage = Usage()
        self._name = name
        self._url = url
        self._host = urlsplit(url).netloc
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._bucket = bucket
        self._max_bytes = max_bytes
        self._accept = accept
        self._pauses_s = pauses_s
        self._session: aiohttp.ClientSession | None = None
        self._closed_until = 0.0  # CLOCK_BOOTTIME in seconds

    async def get(
        self,
        path: str,
        form: type[T],
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> T:
        """Ask for a JSON document of the given form.

        Raises
        ------
        AltDataError
            If it did not come, or is something else.
        """
        return self._decode(await self.read("GET", path, params=params, headers=headers), form, path)

    async def post(
        self, path: str, form: type[T], content: object, *, headers: Mapping[str, str] | None = None
    ) -> T:
        """Send a JSON document, and read the answer, as `get`."""
        body = msgspec.json.encode(content)
        headers = {"Content-Type": "application/json", **(headers or {})}
        return self._decode(await self.read("POST", path, body=body, headers=headers), form, path)

    async def read(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> bytes:
        """The bytes of an answer; errors as of `get`."""
        for pause_s in (*self._pauses_s, None):
            self._check_wait()
            if await self._bucket.take():
                self.usage.throttled += 1
            try:
                return await self._attempt(method, path, params, headers, body)
            except AltDataError as error:
                if error.kind != "unreachable" or error.wait_s or pause_s is None:
                    raise
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))
        raise AssertionError("the last attempt returns or raises")

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    # ------------------------------------------------------------------ inside

    async def _attempt(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None,
        headers: Mapping[str, str] | None,
        body: bytes | None,
    ) -> bytes:
        if self._session is None:
            agent = {"User-Agent": "levibot", "Accept": self._accept}
            self._session = aiohttp.ClientSession(timeout=self._timeout, headers=agent)
            self._session._retry_connection = False  # or aiohttp asks again by itself, past our rate limit
        self.usage.requests += 1
        try:
            async with self._session.request(
                method,
                self._url.rstrip("/") + path if path else self._url,  # some feeds end in a slash
                params=params,
                headers=headers,
                data=body,
                allow_redirects=False,  # a key is for this host alone
            ) as response:
                content = await self._content(response)
                if response.status != 200:
                    raise self._refusal(response, content, path, [*(headers or {}).values()])
        except TimeoutError as error:
            raise self._error("unreachable", f"no answer within {self._timeout.total:g} s") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:  # ValueError: broken compression or headers
            raise self._error("unreachable", f"cannot be reached ({type(error).__name__})") from None
        return content

    async def _content(self, response: aiohttp.ClientResponse) -> bytes:
        content = bytearray()
        async for chunk in response.content.iter_chunked(_CHUNK):
            content += chunk
            if len(content) > self._max_bytes:
                response.close()
                raise self._error("malformed", f"the answer is larger than {self._max_bytes} bytes")
        return bytes(content)

    def _refusal(
        self, response: aiohttp.ClientResponse, content: bytes, path: str, secrets: Sequence[str]
    ) -> AltDataError:
        status = response.status
        after_s = seconds_of(response.headers.get("Retry-After", ""), datetime.now(UTC))
        if status == _TOO_MANY or (status == _AWAY and after_s is not None):
            wait_s = min(_WAIT_S if after_s is None else after_s, LONGEST_WAIT_S)
            self._closed_until = boot_seconds() + wait_s
            self.usage.throttled += 1
            what = f"asks for patience (HTTP {status}); nothing is asked for {wait_s:.0f} s"
            return self._error("throttled", what, wait_s)
        if status >= 500:
            return self._error("unreachable", f"is in trouble (HTTP {status})")
        if status in (401, 403):
            return self._error("refused", f"refuses the key, or wants one (HTTP {status}); check it")
        if 300 <= status < 400:
            return self._error("refused", f"sends elsewhere (HTTP {status}); correct its url")
        return self._error("refused", f"refuses {path} (HTTP {status}){_excerpt(content, secrets)}")

    def _check_wait(self) -> None:
        wait_s = self._closed_until - boot_seconds()
        if wait_s > 0:
            what = f"asked for patience; nothing is asked for {wait_s:.0f} s"
            raise self._error("throttled", what, wait_s)

    def _decode(self, content: bytes, form: type[T], path: str) -> T:
        try:
            return msgspec.json.decode(content, type=form)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise self._error("malformed", f"answers {path} with something else: {error}") from None

    def _error(self, kind: AltDataFault, what: str, wait_s: float = 0.0) -> AltDataError:
        return AltDataError(f"{self._name}: {self._host} {what}", kind, wait_s)


def seconds_of(retry_after: str, now: datetime) -> float | None:
    """Seconds that a Retry-After header asks for, as a number or a date; None: it makes no sense."""
    text = retry_after.strip()
    if re.fullmatch(r"\d{1,9}(\.\d+)?", text):
        return float(text)
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return max(0.0, (date - now).total_seconds())


def _excerpt(content: bytes, secrets: Sequence[str]) -> str:
    """The beginning of what the provider says, without what we sent it in confidence."""
    text = content.decode(errors="replace")
    for secret in " ".join(secrets).split():  # of "Bearer KEY" it may name the key alone
        text = text.replace(secret, "…")
    words = " ".join("".join(char if char.isprintable() else " " for char in text[:2000]).split())
    return f": {words[:_EXCERPT]}" if words else ""
