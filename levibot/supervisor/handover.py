"""Keys that the environment gives, of an account and of providers: taken out before another process is started.

What a process was started with stays readable in ``/proc/PID/environ`` as long as it lives. So the daemon starts
itself anew without these variables, and hands their values over in memory that no other process can open by name.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, MutableMapping

from levibot.locations import KEY_VARIABLES, PROVIDER_KEY_VARIABLES

_DESCRIPTOR = "LEVIBOT_HANDED_OVER"


def take_keys(environ: MutableMapping[str, str], command: list[str]) -> dict[str, str]:
    """The variables that hold a key; afterwards neither `environ` nor the process's first environment has them.

    Parameters
    ----------
    environ
        Of this process.
    command
        Starts this very program; run in this process's place if the environment holds a key.
    """
    keys = {name: environ.pop(name) for name in (*KEY_VARIABLES, *PROVIDER_KEY_VARIABLES) if name in environ}
    if keys:
        run_again(command, environ, keys)
    descriptor = environ.pop(_DESCRIPTOR, "")
    if not descriptor:
        return {}
    with os.fdopen(int(descriptor), "rb") as memory:
        memory.seek(0)
        handed: dict[str, str] = json.loads(memory.read())
    return handed


def run_again(command: list[str], environ: Mapping[str, str], keys: Mapping[str, str]) -> None:
    """Run `command` in this process's place, and hand the keys over to it. Does not return."""
    handed = {}
    if keys:
        memory = os.memfd_create("levibot", 0)  # inherited
        os.write(memory, json.dumps(dict(keys)).encode())
        handed = {_DESCRIPTOR: str(memory)}
    os.execve(command[0], command, {**environ, **handed})
