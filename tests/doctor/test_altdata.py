"""The check of what alternative data need."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from levibot.config import Config
from levibot.doctor.altdata import check_altdata
from levibot.doctor.finding import Finding, Patient
from levibot.doctor.permissions import check_permissions

NEWS = {"news": {"enabled": True, "feeds": ["http://127.0.0.1/feed"]}}


def patient(altdata: dict[str, Any], folder: Path = Path("data")) -> Patient:
    config = Config.model_validate({"altdata": altdata, "supervisor": {"data_dir": folder}})
    return Patient(config, None, folder, {})


def check(altdata: dict[str, Any]) -> Finding:
    (finding,) = check_altdata(patient(altdata))
    return finding


def test_what_is_asked_is_named() -> None:
    assert check({}).level == "ok"
    assert "mempool" in check({"mempool": {"enabled": True}}).found
    assert check(NEWS).level == "ok"


def test_a_package_that_is_missing_is_told_where_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("feedparser", "vaderSentiment", "dune_client"):
        monkeypatch.delitem(sys.modules, package, raising=False)
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(sys, "path_importer_cache", {})
    assert "feedparser, vaderSentiment" in check(NEWS).found
    assert "vaderSentiment" not in check({"news": {**NEWS["news"], "scorer": "llm"}}).found
    assert "dune_client" in check({"dune": {"enabled": True, "queries": {"a": 1}}}).found
    assert check({"mempool": {"enabled": True}}).level == "ok"


def test_a_key_that_others_can_read_is_told(tmp_path: Path) -> None:
    key = tmp_path / "dune.key"
    key.write_text("secret")
    key.chmod(0o644)
    asked = {"dune": {"enabled": True, "queries": {"a": 1}, "key_file": key}}
    findings = {finding.check: finding for finding in check_permissions(patient(asked, tmp_path))}
    assert findings["altdata.dune.key_file"].level == "fail"
