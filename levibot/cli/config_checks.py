"""What a configuration names outside of itself: programs, files and folders that must be there and be fit."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from levibot.alerting.pulse import heartbeat_url
from levibot.alerting.secret_files import SecretFile
from levibot.config import AlertsConfig, Config
from levibot.errors import StopError
from levibot.exchange.credentials import find_credentials, read_credentials
from levibot.live_notice import nothing_can_be_opened
from levibot.market.tape import recordings_folder
from levibot.private_file import PrivateFileError

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+")


def faults(config: Config) -> Iterator[str]:
    """What cannot work although a daemon would run, one sentence each; none of them tells a URL."""
    yield from _hook(config.alerts)
    yield from _key(config)
    yield from _loop(config)
    owner = _owner(config.supervisor.data_dir)
    if config.alerts.targets_file is not None:
        yield from _targets(SecretFile("targets_file", config.alerts.targets_file, owner))
    if config.alerts.heartbeat_file is not None:
        try:
            heartbeat_url(SecretFile("heartbeat_file", config.alerts.heartbeat_file, owner))
        except PrivateFileError as error:
            yield str(error)


def missing_key(config: Config, environ: Mapping[str, str]) -> Iterator[str]:
    """What keeps a daemon from finding the account's key that gets this environment; a file is a fault already."""
    if config.mode == "live" and config.live.credentials != "file":
        try:
            find_credentials(config.live, environ)
        except StopError as error:
            yield str(error)


def doubts(config: Config, environ: Mapping[str, str]) -> Iterator[str]:
    """What works, but probably not as it is meant."""
    for text in missing_key(config, environ):
        yield f"{text}; a daemon that is started as this command was would refuse to start"
    if nothing := nothing_can_be_opened(config):
        yield nothing
    folder = config.models_dir
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        yield (
            f"inference.models_dir: {config.models_dir} cannot be written to: `levibotctl train` can leave no "
            f"model there; correct it, or what {folder} is and whose"
        )


def _loop(config: Config) -> Iterator[str]:
    feed, folder = config.feed, recordings_folder(config.state_dir)
    if (
        feed.record
        and feed.source == "replay"
        and feed.path is not None
        and feed.path.resolve() == folder.resolve()
    ):
        yield f"feed.path: {feed.path} is where record = true writes to; move the recording, or set record = false"


def _key(config: Config) -> Iterator[str]:
    if config.mode == "live" and config.live.credentials == "file":
        try:
            read_credentials(config.live, {})
        except StopError as error:
            yield str(error)


def _hook(alerts: AlertsConfig) -> Iterator[str]:
    if alerts.hook and shutil.which(alerts.hook[0]) is None:
        yield (
            f"alerts.hook: {alerts.hook[0]} is no program that can be run; correct it, or make it executable "
            "with `chmod +x`"
        )


def _targets(file: SecretFile) -> Iterator[str]:
    try:
        lines = file.read()
    except PrivateFileError as error:
        yield str(error)
        return
    if not lines:
        yield f"alerts.{file.key} {file.path} holds no URL; add one, or leave the key out"
    for line in lines:
        if not _URL.fullmatch(line.text):
            yield (
                f"alerts.{file.key} {file.path}:{line.number}: expected an apprise URL (SCHEME://…); "
                "correct the line, or remove it"
            )


def _owner(data_dir: Path) -> int:
    """The daemon's user, who need not be the one who checks."""
    return data_dir.stat().st_uid if data_dir.exists() else os.geteuid()
