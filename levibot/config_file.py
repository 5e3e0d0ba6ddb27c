"""From `supervisor.toml` and the environment to settings that are complete, checked and absolute."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from levibot.config import Config
from levibot.config_base import Section
from levibot.config_environment import Override, apply_overrides, read_overrides
from levibot.config_errors import Source, describe
from levibot.errors import ConfigError
from levibot.locations import (
    API_SOCKET,
    SUBSCRIBERS_SOCKET,
    anchored,
    choose_run_dir,
    default_data_dir,
    find_file,
    prepare_run_dir,
    read_file,
)
from levibot.spec import Endpoints, inference_name, tft_name


@dataclass(frozen=True)
class LoadedConfig:
    """Settings, and where they came from.

    Parameters
    ----------
    config
        All paths in it are absolute.
    path
        The file, or None for the embedded defaults.
    overrides
        What the environment changed.
    """

    config: Config
    path: Path | None
    overrides: tuple[Override, ...] = ()

    @property
    def warnings(self) -> list[str]:
        """What is valid but probably not meant."""
        warnings = [
            f'overrides."{symbol}": has no effect, {symbol} is not among symbols'
            for symbol in self.config.overrides
            if symbol not in self.config.symbols
        ]
        if self.config.lacks_pool:
            warnings.append(
                "inference.processes: 0 starts no inference pool, without which the strategy ensemble gives no "
                "signal; set it to 2, or another strategy"
            )
        if self.config.altdata.enabled and self.config.feed.is_artificial:
            warnings.append(
                "altdata: what is fetched is of now, and the market of "
                f'feed.source = "{self.config.feed.source}" is not: no bar of it has any'
            )
        return warnings


def load(path: Path | None, environ: Mapping[str, str]) -> LoadedConfig:
    """Read the configuration in force.

    Parameters
    ----------
    path
        The file, if the user named one. Else ``$LEVIBOT_CONFIG``, ``./supervisor.toml`` and
        ``/etc/levibot/supervisor.toml`` are tried, and the embedded defaults hold if there is none.
    environ
        The environment; ``LEVIBOT_SECTION__KEY`` wins over the file.

    Raises
    ------
    ConfigError
        With one line for each thing that is wrong: file and line, key, what was expected.
    """
    found = find_file(path, environ)
    text, tables = read_file(found) if found is not None else ("", {})
    overrides = tuple(read_overrides(environ))
    source = Source(found, text, overrides)
    merged = apply_overrides(tables, list(overrides))
    try:
        # JSON, because there strict still takes a path from text and a tuple from a list.
        config = Config.model_validate_json(json.dumps(merged, default=str), strict=True)
    except ValidationError as error:
        raise ConfigError(describe(error, source)) from error
    base = found.parent if found is not None else Path.cwd()
    absolute = _with_absolute_paths(config, base, overrides)
    if "data_dir" not in config.supervisor.model_fields_set:
        section = absolute.supervisor.model_copy(update={"data_dir": default_data_dir(base, environ)})
        absolute = absolute.model_copy(update={"supervisor": section})
    return LoadedConfig(absolute, found, overrides)


def run_dir(config: Config, environ: Mapping[str, str] = os.environ) -> Path:
    """Folder of the daemon's sockets."""
    return choose_run_dir(config.supervisor.data_dir, config.supervisor.run_dir, environ)


def make_run_dir(config: Config, environ: Mapping[str, str] = os.environ) -> Path:
    """The same folder, made and private; call it once at the daemon's start, before any bind.

    Raises
    ------
    StopError
        If somebody else owns it.
    """
    path = run_dir(config, environ)
    prepare_run_dir(path, config.supervisor.data_dir)
    return path


def endpoints(config: Config, environ: Mapping[str, str] = os.environ) -> Endpoints:
    """ZeroMQ endpoints of the daemon and its workers."""
    folder = run_dir(config, environ)

    def ipc(name: str) -> str:
        return f"ipc://{folder / name}"

    return Endpoints(
        publishers=ipc("market-in.sock"),
        subscribers=ipc(SUBSCRIBERS_SOCKET),
        feed=ipc("feed.sock"),
        broker=ipc("broker.sock"),
        risk=ipc("risk.sock"),
        heartbeat=ipc("heartbeat.sock"),
        control=ipc("control.sock"),
        inference=tuple(ipc(f"{inference_name(index)}.sock") for index in range(config.inference.processes)),
        tft=tuple(ipc(f"{tft_name(index)}.sock") for index in range(config.inference.tft_processes)),
    )


def remove_sockets(ends: Endpoints) -> None:
    """Remove what was bound there, once all processes have ended: what lies there then, a crash has left."""
    for field in Endpoints.model_fields:
        value = getattr(ends, field)
        for endpoint in (value,) if isinstance(value, str) else value:
            Path(endpoint.removeprefix("ipc://")).unlink(missing_ok=True)


def api_socket(config: Config, environ: Mapping[str, str] = os.environ) -> Path:
    """Unix socket of the HTTP interface."""
    return run_dir(config, environ) / API_SOCKET


def _with_absolute_paths(config: Config, base: Path, overrides: tuple[Override, ...]) -> Config:
    from_environment = {override.path for override in overrides}

    def fixed(section: Any, path: tuple[str, ...]) -> Any:
        changes: dict[str, Any] = {}
        for name in type(section).model_fields:
            value = getattr(section, name)
            if isinstance(value, Path):
                given_here = any((*path, name)[: len(prefix)] == prefix for prefix in from_environment)
                changes[name] = anchored(value, Path.cwd() if given_here else base)
            elif isinstance(value, Section):
                changes[name] = fixed(value, (*path, name))
        return section.model_copy(update=changes)

    result: Config = fixed(config, ())
    return result
