"""deploy/prometheus.yml and the alert rules, as promtool and a person would check them."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from levibot.observability.metrics import Family
from levibot.supervisor.daemon_metrics import DAEMON_FAMILIES
from levibot.supervisor.feed_metrics import FEED_FAMILIES
from levibot.supervisor.supervisor_metrics import SUPERVISOR_FAMILIES
from levibot.supervisor.trading_metrics import TRADING_FAMILIES
from levibot.supervisor.worker_metrics import ENGINE_FAMILIES, INFERENCE_FAMILIES, WORKER_FAMILIES
from tests.prometheus import DEPLOY, promtool

CONFIG = DEPLOY / "prometheus.yml"
RULES = DEPLOY / "alert-rules.yml"
CASES = DEPLOY / "alert-rules.test.yml"
FAMILIES: tuple[Family[Any], ...] = (
    *DAEMON_FAMILIES,
    *SUPERVISOR_FAMILIES,
    *FEED_FAMILIES,
    *TRADING_FAMILIES,
    *WORKER_FAMILIES,
    *ENGINE_FAMILIES,
    *INFERENCE_FAMILIES,
)


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def known_names() -> set[str]:
    plain = {family.name for family in FAMILIES}
    parts = {f"{f.name}_{part}" for f in FAMILIES if f.kind == "histogram" for part in ("bucket", "sum", "count")}
    return plain | parts


def test_promtool_accepts_the_configuration_and_the_rules() -> None:
    promtool("check", "config", CONFIG)
    promtool("check", "rules", RULES)


def test_the_rules_fire_when_they_should_and_only_then() -> None:
    promtool("test", "rules", CASES)


def test_each_rule_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    fired: dict[str, set[bool]] = {}
    for case in yaml.safe_load(CASES.read_text())["tests"]:
        for check in case["alert_rule_test"]:
            fired.setdefault(check["alertname"], set()).add(bool(check["exp_alerts"]))
    assert fired == {rule["alert"]: {True, False} for rule in rules()}


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_each_rule_names_severity_summary_and_remedy_and_asks_for_metrics_that_exist(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("warning", "critical", "{{ $labels.severity }}")
    assert set(rule["annotations"]) == {"summary", "remedy"}
    asked = set(re.findall(r"\blevi_\w+", rule["expr"]))
    assert asked <= known_names()
    assert asked or "up{" in rule["expr"]


def test_the_address_is_the_one_that_is_served_by_default() -> None:
    (job,) = yaml.safe_load(CONFIG.read_text())["scrape_configs"]
    assert job["static_configs"] == [{"targets": ["127.0.0.1:8383"]}]
