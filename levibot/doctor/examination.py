"""All checks, one after the other; a check that breaks is a finding too."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from levibot.api.client import ApiClient, ApiError, NotRunningError
from levibot.config import Config
from levibot.config_file import load
from levibot.doctor.altdata import check_altdata
from levibot.doctor.clock import check_clock
from levibot.doctor.disk import check_disk
from levibot.doctor.exchange import check_exchange
from levibot.doctor.finding import Finding, Patient
from levibot.doctor.limits import check_limits
from levibot.doctor.locks import check_locks
from levibot.doctor.models import check_models, check_sequences
from levibot.doctor.permissions import check_permissions
from levibot.doctor.processes import check_processes
from levibot.doctor.versions import check_versions
from levibot.errors import ConfigError, StopError
from levibot.locations import Locations, locate

Check = Callable[[Patient], Iterable[Finding]]

CHECKS: tuple[Check, ...] = (
    check_versions,
    check_clock,
    check_disk,
    check_permissions,
    check_locks,
    check_limits,
    check_processes,
    check_models,
    check_altdata,
    check_sequences,
    check_exchange,
)


NEED_NO_SETTINGS: tuple[Check, ...] = (check_versions, check_clock, check_disk, check_processes)


def examine(config_path: Path | None, environ: Mapping[str, str] = os.environ) -> Iterator[Finding]:
    """Run all checks.

    Parameters
    ----------
    config_path
        As the user gave it, or None.
    environ
        The environment.
    """
    config, path, finding = _configuration(config_path, environ)
    yield finding
    try:
        places = locate(config_path, environ)
    except (ConfigError, StopError) as error:
        yield Finding("folders", "fail", str(error), "correct the configuration first; the rest is not checked")
        return
    status, finding = _daemon(places)
    yield finding
    checks = CHECKS
    if config is None:  # the folders are known all the same
        config = Config.model_validate({"supervisor": {"data_dir": places.data_dir}})
        yield Finding(
            "settings",
            "warn",
            "the configuration is wrong: ports, permissions, locks, limits, models, exchange are not checked",
            "correct it, and ask again",
        )
        checks = NEED_NO_SETTINGS
    patient = Patient(config, path, places.run_dir, environ, status)
    for check in checks:
        try:
            yield from check(patient)
        except Exception as error:  # noqa: BLE001 -- the other checks are wanted all the more
            name = check.__name__.removeprefix("check_")
            yield Finding(name, "fail", f"cannot be checked: {type(error).__name__}: {error}", "report this")


def _configuration(given: Path | None, environ: Mapping[str, str]) -> tuple[Config | None, Path | None, Finding]:
    try:
        loaded = load(given, environ)
    except ConfigError as error:
        return None, given, Finding("configuration", "fail", str(error), "correct it: `levibotctl config check`")
    where = str(loaded.path or "the embedded defaults")
    if loaded.warnings:
        found = f"{where}: {'; '.join(loaded.warnings)}"
        return loaded.config, loaded.path, Finding("configuration", "warn", found, "correct it")
    return loaded.config, loaded.path, Finding("configuration", "ok", where)


def _daemon(places: Locations) -> tuple[Mapping[str, object] | None, Finding]:
    try:
        status = ApiClient(places.api_socket, 5.0).get("/engines/status")
    except NotRunningError:
        return None, Finding("daemon", "ok", "does not run; what can be seen without it is checked")
    except ApiError as error:
        return None, Finding("daemon", "fail", str(error).partition("\n")[0], "see `levibotctl logs supervisor`")
    found = f"runs as process {status['daemon']['pid']}, {status['running']} of {status['total']} engines ready"
    standing = [alert["message"] for alert in status["alerts"]]
    if standing:
        return status, Finding("daemon", "warn", f"{found}; alerts: {'; '.join(standing)}", "`levibotctl status`")
    return status, Finding("daemon", "ok", found)
