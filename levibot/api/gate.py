"""What every request must pass before the application sees it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from ipaddress import ip_address
from typing import Any
from urllib.parse import parse_qsl, unquote_to_bytes

from levibot.api.caller import caller_of
from levibot.api.problems import Problem
from levibot.api.tokens import Tokens
from levibot.api.traffic import NO_ROUTE, Traffic
from levibot.api.trail import Record, Trail

Application = Any  # an ASGI application; asgiref's own types are not installed everywhere
Scope = dict[str, Any]

MOST_TARGET = 4096  # bytes of path and query
MOST_HEADERS = 16 * 1024  # bytes of all headers
MOST_BODY = 8 * 1024  # bytes; no route takes one
_HEADER_COST = 4  # bytes around name and value
_READING = ("GET", "HEAD")
_REFUSAL_SECONDS = 0.25  # that the answer to a wrong token takes
_MOST_REFUSALS = 16  # of these that may be under way; more are turned away at once
_OWN_NAMES = ("localhost", "127.0.0.1", "::1")
_FETCH_SITE, _OWN_SITES = b"sec-fetch-site", (b"none", b"same-origin")
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_FORBIDDEN = "Authorization: Bearer TOKEN, with the token from {path}"


class Door:
    """Who may come in over TCP.

    A page of another site can have its own name resolve to this machine (DNS rebinding): its requests carry
    that name as their Host. Local addresses are let in as they are, for no name leads to them by itself.

    Parameters
    ----------
    tokens
        What requests must carry.
    hosts
        Names by which the port may be addressed, besides those of this machine's loopback and the address
        that the client has reached.
    """

    def __init__(self, tokens: Tokens, hosts: Iterable[str], traffic: Traffic) -> None:
        self._tokens = tokens
        self.token_name = tokens.path.name  # of the one that changes need
        self._hosts = frozenset(host.lower().strip("[]") for host in (*_OWN_NAMES, *hosts))
        self._traffic = traffic
        self._refusals = 0

    def check_host(self, scope: Scope, host: str) -> Problem | None:
        """Refuse a request that means another host."""
        name = _host_name(host)
        if name in self._hosts or name == _reached(scope):
            return None
        remedy = "use the port's address, or add the name to api.allowed_hosts"
        return Problem(421, f"host {name!r} is not served here", remedy)

    async def check_token(self, authorization: bytes | None, *, changing: bool) -> Problem | None:
        """Refuse a request without a token that is good for it; a wrong one is answered slowly."""
        tokens = self._tokens
        if not changing and tokens.reading is None:
            return None
        path = tokens.path if changing else tokens.read_path
        remedy = f"send the header {_FORBIDDEN.format(path=path)}"
        challenge = (("www-authenticate", 'Bearer realm="levibot"'),)
        if authorization is None:
            return Problem(401, "changes need a token" if changing else "reading needs a token", remedy, challenge)
        kind, _, given = authorization.partition(b" ")
        if kind.lower() == b"bearer" and tokens.allow(given.strip(), changing=changing):
            return None
        self._traffic.refused_tokens += 1
        if self._refusals >= _MOST_REFUSALS:
            return Problem(429, "too many wrong tokens", remedy, (("retry-after", "1"),))
        self._refusals += 1
        try:
            await asyncio.sleep(_REFUSAL_SECONDS)
        finally:
            self._refusals -= 1
        return Problem(401, "this token is not good for this request", remedy, challenge)


class Gate:
    """Counts and bounds requests, and lets through what may pass.

    Parameters
    ----------
    app
        The application behind it.
    traffic
        Where answers are counted.
    door
        Who may come in; None: everybody who reaches the socket may do everything.
    record
        Takes each change for the audit.
    """

    def __init__(self, app: Application, traffic: Traffic, door: Door | None, record: Record) -> None:
        self._app = app
        self._trail = Trail(app, record)
        self._traffic = traffic
        self._door = door

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Answer one request."""

        async def counted(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                route = scope.get("route")
                self._traffic.requests[getattr(route, "path_format", NO_ROUTE), message["status"]] += 1
            await send(message)

        headers = _single_headers(scope["headers"])
        problem = await self._check(scope, headers)
        if problem is None and (b"content-length" in headers or b"transfer-encoding" in headers):
            problem = await _discard_body(headers, receive)
        if problem is not None:
            await problem.send(counted)
        elif scope["method"] in _READING:
            await self._app(scope, receive, counted)
        else:
            caller = caller_of(scope, self._door.token_name if self._door is not None else "")
            await self._trail(caller, scope, receive, counted)

    async def _check(self, scope: Scope, headers: dict[bytes, bytes | None]) -> Problem | None:
        host, changing = headers.get(b"host", b""), scope["method"] not in _READING
        problem = _check_form(scope)
        if problem is None and host is None:
            problem = Problem(400, "there is more than one Host header", "send one")
        if problem is None and self._door is not None:
            problem = self._door.check_host(scope, (host or b"").decode("latin-1"))
        if problem is None and changing:
            problem = _check_origin(headers, host or b"")
        if problem is None and self._door is not None:
            problem = await self._door.check_token(headers.get(b"authorization"), changing=changing)
        return problem


def _check_form(scope: Scope) -> Problem | None:
    """Refuse what is too long, or no text."""
    path, query = scope["raw_path"], scope["query_string"]
    if len(path) + len(query) > MOST_TARGET:
        return Problem(414, f"path and query are over {MOST_TARGET} bytes", "shorten them")
    if sum(len(name) + len(value) + _HEADER_COST for name, value in scope["headers"]) > MOST_HEADERS:
        return Problem(431, f"the headers are over {MOST_HEADERS} bytes", "send fewer")
    target = path + b"?" + query
    if b"%" in target or not target.isascii():
        try:
            unquote_to_bytes(target).decode("utf-8")
        except UnicodeDecodeError:
            return Problem(400, "path and query are no UTF-8 text", "encode them as UTF-8, then by percent signs")
        if _BAD_ESCAPE.search(target):
            return Problem(400, "a percent sign stands without two hexadecimal digits", "write %25 for itself")
    names = [name for name, _ in parse_qsl(query.decode("utf-8"), keep_blank_values=True)]
    if len(set(names)) < len(names):  # which of two would count is anybody's guess: ?on=true&on=false
        return Problem(400, "a parameter stands in the query twice", "send each once")
    return None


def _check_origin(headers: dict[bytes, bytes | None], host: bytes) -> Problem | None:
    """Refuse changes that a page of another site asks for; a browser says so, and a script cannot hide it.

    A token does not help: whoever made a browser keep one, its user did not mean this.
    """
    origin = headers.get(b"origin", b"")
    own = (b"", b"http://" + host.lower(), b"https://" + host.lower())
    if origin is None or origin.lower() not in own or headers.get(_FETCH_SITE, b"none") not in _OWN_SITES:
        remedy = "use levibotctl, or a program of your own"
        return Problem(403, "a page of another site may change nothing", remedy)
    return None


async def _discard_body(headers: dict[bytes, bytes | None], receive: Any) -> Problem | None:
    """Read a body to its end before anything is done, for a request that is refused must change nothing."""
    too_large = Problem(413, f"the body is over {MOST_BODY} bytes", "send none; parameters stand in the query")
    length = headers.get(b"content-length")
    if length is not None and (not length.isdigit() or int(length[:10]) > MOST_BODY):
        return too_large
    read = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return Problem(400, "the body was cut short", "send it whole")
        read += len(message["body"])
        if read > MOST_BODY:
            return too_large
        if not message["more_body"]:
            return None


def _single_headers(headers: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes | None]:
    """Headers by name; None for one that stands there twice."""
    found: dict[bytes, bytes | None] = {}
    for name, value in headers:
        found[name] = None if name in found else value
    return found


def _host_name(host: str) -> str:
    """Name in a Host header, without its port."""
    name = host.lower()
    before, colon, port = name.rpartition(":")
    if colon and port.isdigit() and not (before.count(":") and not before.endswith("]")):
        name = before
    return name.removeprefix("[").removesuffix("]")


def _reached(scope: Scope) -> str | None:
    """Address of this machine that the client has connected to."""
    server = scope.get("server")
    if not server:
        return None
    try:
        address = ip_address(server[0])
    except ValueError:
        return None
    return str(getattr(address, "ipv4_mapped", None) or address)
