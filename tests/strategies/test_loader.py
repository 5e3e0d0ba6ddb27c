"""A strategy is found by its name, and a user's mistake is told with key and remedy."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from levibot.errors import ConfigError
from levibot.strategies.loader import load_strategy
from levibot.strategies.sma_cross import SmaCross

USER_FILE = """
from levibot.strategies.base import Signal

class Mine:
    warm_up_bars = 3
    def __init__(self, level: float = 1.0):
        if level < 0:
            raise RuntimeError("level is below zero")
        self.level = level
    def warm_up(self, bars):
        pass
    def on_bar(self, bar, position):
        return Signal("long")

class NoBars(Mine):
    on_bar = None

class BadWarmUp(Mine):
    warm_up_bars = "many"

a_function = len
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "user_strategies.py").write_text(USER_FILE)
    (tmp_path / "broken_strategies.py").write_text("import no_such_module_at_all\n")
    (tmp_path / "raising_strategies.py").write_text("raise OSError('no data file')\n")
    path = list(sys.path)
    yield tmp_path
    sys.path[:] = path
    for name in ("user_strategies", "broken_strategies", "raising_strategies"):
        sys.modules.pop(name, None)


def test_built_in_strategy_gets_its_options() -> None:
    strategy = load_strategy("sma_cross", {"fast": 2, "slow": 4})
    assert isinstance(strategy, SmaCross)
    assert strategy.warm_up_bars == 5


def test_a_class_in_a_file_of_the_user_is_found(folder: Path) -> None:
    strategy = load_strategy("user_strategies:Mine", {"level": 2.0}, [folder])
    assert vars(strategy) == {"level": 2.0}


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("sma_kross", {}, ["engine.strategy", "did you mean sma_cross"]),
        ("sma_cross", {"quick": 3}, ["engine.strategy_options", "quick", "fast, slow"]),
        ("sma_cross", {"fast": 50}, ["engine.strategy_options", "fast < slow"]),
        ("user_strategies:Mime", {}, ["engine.strategy", "no class Mime", "did you mean Mine"]),
        ("user_strategies:a_function", {}, ["no class a_function"]),
        ("user_strategies:Mine", {"level": -1.0}, ["engine.strategy_options", "level is below zero"]),
        ("user_strategies:NoBars", {}, ["no method on_bar"]),
        ("user_strategies:BadWarmUp", {}, ["warm_up_bars is 'many'"]),
        ("user_strategys:Mine", {}, ["cannot import user_strategys", "put it into"]),
        ("broken_strategies:Mine", {}, ["cannot import no_such_module_at_all"]),
        ("raising_strategies:Mine", {}, ["importing it failed", "no data file"]),
        (":Mine", {}, ["engine.strategy"]),
    ],
)
def test_a_mistake_is_told_with_key_and_remedy(
    folder: Path, name: str, options: dict[str, float], words: list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_strategy(name, options, [folder])
    assert all(word in str(caught.value) for word in words), str(caught.value)
