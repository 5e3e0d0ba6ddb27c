"""The check of the model that serves."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from levibot.cli.models import promote
from levibot.config import Config
from levibot.doctor.finding import Finding, Patient
from levibot.doctor.models import check_models, check_sequences
from levibot.ml.manifest import MODEL
from levibot.ml.store import ModelStore
from tests.ml.examples import manifest


def check_all(
    models: Path, processes: int = 1, strategy: str = "ensemble", source: str = "simulated"
) -> list[Finding]:
    settings = {
        "feed": {"source": source},
        "engine": {"strategy": strategy},
        "inference": {"models_dir": models, "model": manifest().name, "processes": processes},
    }
    return list(check_models(Patient(Config.model_validate(settings), None, Path("run"), {})))


def check(models: Path, processes: int = 1, strategy: str = "ensemble") -> Finding:
    (finding,) = check_all(models, processes, strategy)
    return finding


def test_no_model_is_told_and_no_pool_needs_none(tmp_path: Path) -> None:
    assert check(tmp_path).level == "warn"
    assert "levibotctl train" in check(tmp_path).remedy
    assert check(tmp_path, processes=0, strategy="sma_cross").level == "ok"
    assert check(tmp_path, strategy="sma_cross").level == "ok"
    assert check(tmp_path, processes=0).level == "warn"


def test_a_model_that_is_not_promoted_is_told_with_the_command_that_promotes_it(tmp_path: Path) -> None:
    stored = ModelStore(tmp_path).save(manifest(), {MODEL: b"tree\n"})
    found = check(tmp_path)
    assert found.level == "warn"
    assert f"{stored.name}/{stored.version} is stored but not promoted" in found.found
    command = re.search(r"`levibotctl models (promote .*)`", found.remedy)
    assert command is not None
    options = promote.make_context("promote", shlex.split(command[1])[1:]).params
    assert (options["model"], options["force"]) == (f"{stored.name}/{stored.version}", True)
    assert check(tmp_path, strategy="sma_cross").level == "ok"


def test_a_whole_model_is_well_and_a_damaged_one_is_found(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    stored = store.save(manifest(), {MODEL: b"tree\n"})
    store.promote(stored.name, stored.version)
    found = check(tmp_path)
    assert (found.level, stored.version in found.found) == ("ok", True)
    folder = tmp_path / stored.name / stored.version
    (folder / "model.txt").write_bytes(b"three\n")
    found = check(tmp_path)
    assert (found.level, found.remedy) == ("fail", "train another: `levibotctl train`")
    (folder / "model.txt").unlink()
    assert check(tmp_path).level == "fail"
    (folder / "manifest.json").write_bytes(b"{")
    assert check(tmp_path).level == "fail"
    (tmp_path / stored.name / "current").unlink()
    (tmp_path / stored.name / "current").symlink_to("elsewhere")
    assert check(tmp_path).level == "fail"


def test_a_model_that_is_too_old_for_a_live_market_is_told_and_so_is_a_damaged_history(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    stored = store.save(manifest(expires_ms=1), {MODEL: b"tree\n"})
    store.promote(stored.name, stored.version)
    assert [found.level for found in check_all(tmp_path)] == ["ok"], "time is the market's there"
    (found,) = check_all(tmp_path, source="ccxt")
    assert (found.level, "expired at 1970-01-01" in found.found) == ("warn", True)
    with (tmp_path / stored.name / "history.jsonl").open("a") as file:
        file.write("{\n")
    serves, history = check_all(tmp_path)
    assert (serves.level, history.level, "1 lines" in history.found) == ("ok", "warn", True)


def check_lane(models: Path, processes: int = 1) -> list[Finding]:
    settings = {"inference": {"models_dir": models, "tft_processes": processes}}
    return list(check_sequences(Patient(Config.model_validate(settings), None, Path("run"), {})))


def test_the_lane_of_sequences_is_judged_where_it_is_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert check_lane(tmp_path, processes=0) == []
    monkeypatch.setattr("levibot.doctor.models.absence", lambda: "TFT is absent")
    (found,) = check_lane(tmp_path)
    assert (found.level, "TFT is absent; the ensemble goes on" in found.found) == ("warn", True)
    monkeypatch.setattr("levibot.doctor.models.absence", lambda: "")
    (found,) = check_lane(tmp_path)
    assert (found.level, "train --kind tft" in found.remedy) == ("warn", True)
    store = ModelStore(tmp_path)
    stored = store.save(manifest(kind="tft", name="tft-simulated"), {MODEL: b"tree\n"})
    store.promote(stored.name, stored.version)
    (found,) = check_lane(tmp_path)
    assert (found.level, stored.version in found.found) == ("ok", True)
    (tmp_path / stored.name / stored.version / MODEL).unlink()
    (found,) = check_lane(tmp_path)
    assert found.level == "fail"
