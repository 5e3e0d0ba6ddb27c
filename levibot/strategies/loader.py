"""Makes a strategy from its name and options."""

from __future__ import annotations

import difflib
import importlib
import inspect
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from levibot.errors import ConfigError
from levibot.strategies.base import Strategy
from levibot.strategies.ensemble import Ensemble
from levibot.strategies.sma_cross import SmaCross

BUILT_IN: dict[str, type[Any]] = {"ensemble": Ensemble, "sma_cross": SmaCross}


def load_strategy(
    name: str, options: Mapping[str, int | float | str | bool], folders: Iterable[Path] = ()
) -> Strategy:
    """Import the class that `name` means and call it with `options`.

    Parameters
    ----------
    name
        A built-in name, or ``"package.module:Class"``.
    options
        Keyword arguments of the class.
    folders
        Where modules are looked for before the places where Python looks anyway.

    Raises
    ------
    ConfigError
        If there is no such class, it is no strategy, or it refuses the options. The text names the key.
    """
    strategy_class = _find_class(name, folders)
    _check_options(name, strategy_class, options)
    try:
        strategy = strategy_class(**options)
    except Exception as error:  # whatever the user's code raises, it is the configuration that is at fault
        raise ConfigError(f"engine.strategy_options: {name} refused them: {_words(error)}") from error
    return _check_form(name, strategy)


def _find_class(name: str, folders: Iterable[Path]) -> type[Any]:
    if name in BUILT_IN:
        return BUILT_IN[name]
    module_name, separator, class_name = name.partition(":")
    if not separator or not module_name or not class_name:
        near = difflib.get_close_matches(name, BUILT_IN, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ConfigError(
            f"engine.strategy = {name!r}: no built-in of that name{hint} "
            f'(built in: {", ".join(BUILT_IN)}; your own is written "package.module:Class")'
        )
    searched = [str(folder) for folder in folders]
    sys.path[:0] = [folder for folder in searched if folder not in sys.path]
    importlib.invalidate_caches()
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        places = ", ".join(searched) or "the daemon's working directory"
        raise ConfigError(
            f"engine.strategy = {name!r}: cannot import {error.name}; put it into one of: {places}"
        ) from error
    except Exception as error:  # the user's module may raise anything while it is imported
        raise ConfigError(f"engine.strategy = {name!r}: importing it failed: {_words(error)}") from error
    found = getattr(module, class_name, None)
    if not inspect.isclass(found):
        classes = [key for key, value in vars(module).items() if inspect.isclass(value)]
        near = difflib.get_close_matches(class_name, classes, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ConfigError(f"engine.strategy = {name!r}: {module_name} has no class {class_name}{hint}")
    return found


def _check_options(name: str, strategy_class: type[Any], options: Mapping[str, Any]) -> None:
    try:
        signature = inspect.signature(strategy_class)
    except ValueError:
        return  # a class made in C may have none; it will check for itself
    known = list(signature.parameters)
    try:
        signature.bind(**options)
    except TypeError as error:
        raise ConfigError(
            f"engine.strategy_options: {name}: {error} (options: {', '.join(known) or 'none'})"
        ) from error


def _check_form(name: str, strategy: Any) -> Strategy:
    for method in ("warm_up", "on_bar"):
        if not callable(getattr(strategy, method, None)):
            raise ConfigError(f"engine.strategy = {name!r}: the class has no method {method}; see Strategy")
    bars = getattr(strategy, "warm_up_bars", None)
    if type(bars) is not int or not 0 <= bars <= 10_000:
        raise ConfigError(
            f"engine.strategy = {name!r}: warm_up_bars is {bars!r}; it must be a whole number from 0 to 10000"
        )
    made: Strategy = strategy
    return made


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
