"""Applying a changed configuration: the difference, and nothing else."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from levibot.api.operations import Document, ShuttingDownError
from levibot.config import Config
from levibot.config_base import Section
from levibot.config_file import load
from levibot.supervisor.config_check import check_file
from levibot.supervisor.leaving import settle_positions
from levibot.supervisor.manager import ALTDATA
from levibot.supervisor.status import describe_holdings, what_stays

if TYPE_CHECKING:
    from levibot.supervisor.daemon import Daemon

# What is fixed for the life of the daemon: sockets, folders and identities hang on it.
_FIXED = ("mode", "supervisor", "inference", "api", "alerts", "logging")
# Of these sections it is what says which market this is: positions of one are never carried to another. And
# the market that all engines look at.
_FIXED_KEYS = {"exchange": ("id", "account", "sandbox"), "feed": ("source", "lockstep", "context")}


async def apply_reload(daemon: Daemon, *, flatten: bool = False, keep: bool = False) -> Document:
    """Read the configuration again and apply what differs.

    Parameters
    ----------
    daemon
        The daemon.
    flatten, keep
        Close the positions of symbols that are removed first, or leave them to the broker.

    Raises
    ------
    ConfigError
        If it is wrong, a strategy that cannot be made included; nothing has changed then.
    RefusedError
        If a symbol that is removed has an open position; nothing has changed then either.
    """
    async with daemon.reloading:
        with daemon.service.reloading():
            return await _apply(daemon, flatten=flatten, keep=keep)


async def _apply(daemon: Daemon, *, flatten: bool, keep: bool) -> Document:
    new = load(daemon.loaded.path, os.environ).config
    await check_file(daemon.loaded.path, daemon.launcher)
    if daemon.stopping:
        raise ShuttingDownError("the daemon is shutting down", "start it again with `levibotctl start`")
    old = daemon.config
    fixed = [name for name in _FIXED if getattr(new, name) != getattr(old, name)]
    fixed += [
        f"{section}.{key}"
        for section, keys in _FIXED_KEYS.items()
        for key in keys
        if getattr(getattr(new, section), key) != getattr(getattr(old, section), key)
    ]
    running = set(daemon.manager.symbols)
    added = [symbol for symbol in new.symbols if symbol not in running]
    removed = [symbol for symbol in daemon.manager.symbols if symbol not in new.symbols]
    changed = [
        symbol
        for symbol in new.symbols
        if symbol in running and new.engine_of(symbol) != daemon.engine_config(symbol)
    ]
    await settle_positions(daemon, removed, flatten=flatten, keep=keep)
    daemon.use_config(_keep_fixed(new, old))
    applied = [name for name in Config.model_fields if getattr(daemon.config, name) != getattr(old, name)]
    for symbol in removed:
        await daemon.remove_symbol(symbol)
    for symbol in added:
        await daemon.add_symbol(symbol)
    await daemon.manager.use_altdata(daemon.config.altdata.enabled)
    restarted = await _restart_changed(daemon, old, changed)
    daemon.log.info("configuration_reloaded", added=added, removed=removed, restarted=restarted, fixed=fixed)
    message = f"reloaded, with changes of {', '.join(applied)}" if applied else "reloaded"
    if not applied and not fixed:
        message = "reloaded; nothing has changed"
    if fixed:
        message += f", but for {', '.join(fixed)}: these apply after `levibotctl upgrade`"
    message += what_stays(describe_holdings(daemon.risk.portfolio, daemon.lookout.trading), removed)
    return {"added": added, "removed": removed, "changed": changed, "restarted": restarted, "message": message}


def _of_market(config: Config) -> tuple[Section, ...]:
    """What a feed of live data runs on, besides ``[feed]``."""
    return config.exchange, config.altdata.funding


async def _restart_changed(daemon: Daemon, old: Config, symbols: list[str]) -> list[str]:
    """Restart alone what runs on settings that are no longer in force."""
    new = daemon.config
    workers = [daemon.manager.engines[symbol] for symbol in symbols]
    if new.feed != old.feed or (_of_market(new) != _of_market(old) and not new.feed.is_artificial):
        workers.append(daemon.manager.workers["feed"])
    if new.altdata != old.altdata and old.altdata.enabled and new.altdata.enabled:
        workers.append(daemon.manager.workers[ALTDATA])
    of_broker = ("live", "exchange") if new.mode == "live" else ("paper",)
    if any(getattr(new, section) != getattr(old, section) for section in of_broker):
        workers.append(daemon.manager.workers["broker"])
    wanted = [worker for worker in workers if worker.wanted]
    await asyncio.gather(*(worker.renew("configuration changed") for worker in wanted))
    return [worker.symbol or worker.name for worker in wanted]


def _keep_fixed(new: Config, old: Config) -> Config:
    sections: dict[str, Section] = {
        section: getattr(new, section).model_copy(
            update={key: getattr(getattr(old, section), key) for key in keys}
        )
        for section, keys in _FIXED_KEYS.items()
    }
    return new.model_copy(update={**sections, **{name: getattr(old, name) for name in _FIXED}})
