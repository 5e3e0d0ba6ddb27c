"""`levibotctl models`, as an operator types it."""

from __future__ import annotations

import getpass
import json
from datetime import UTC, datetime, timedelta

import pytest

from levibot.cli.models import _complete, show
from levibot.ml.manifest import MODEL
from levibot.ml.store import ModelStore
from tests.cli.conftest import Place
from tests.ml.examples import manifest, model_text

NAME = "lightgbm-simulated"


@pytest.fixture
def store(place: Place) -> ModelStore:
    return ModelStore(place.data / "models")


def save(store: ModelStore, name: str = NAME) -> str:
    return store.save(manifest(name=name), {MODEL: b"tree\n"}).version


def test_versions_are_listed_and_shown_with_what_served(place: Place, store: ModelStore) -> None:
    assert "no model in" in place.ctl("models", "list").stdout
    first, second = save(store), save(store)
    save(store, "other")
    for version in (first, second):
        store.promote(NAME, version, who="me", why=f"{version} is the best")
    (store.folder / "other" / store.versions("other")[0] / "manifest.json").write_text("{")
    listed = place.ctl("models", "list").stdout
    assert [" ".join(line.split()[:3]) for line in listed.splitlines()[1:]] == [
        f"{NAME}/{first} served before",
        f"{NAME}/{second} serves 0.700",
        f"other/{store.versions('other')[0]} damaged",
    ]
    rows = json.loads(place.ctl("models", "list", "--json").stdout)
    assert [(row["version"], row["state"], bool(row["trouble"])) for row in rows[1:]] == [
        (second, "serves", False),
        (store.versions("other")[0], "", True),
    ]
    shown = place.ctl("models", "show").stdout
    assert f"{NAME}/{second}" in shown
    assert f"rollback {NAME}` goes to: {first}" in shown
    assert f"promote {second} by me: {second} is the best" in shown
    said = json.loads(place.ctl("models", "show", first, "--json").stdout)
    assert (said["version"], said["serves"], said["rollback_to"]) == (first, False, first)
    assert [change["version"] for change in said["history"]] == [first, second]


def test_a_rollback_lets_serve_what_served_before_and_old_ones_are_pruned(place: Place, store: ModelStore) -> None:
    versions = [save(store) for _ in range(4)]
    for version in versions[:2]:
        store.promote(NAME, version)
    done = place.ctl("models", "rollback", "--reason", "it lost money")
    assert f"{NAME}/{versions[0]} serves from now on, in place of {versions[1]}" in done.stdout
    assert store.linked(NAME) == versions[0]
    change = store.changes(NAME)[0][-1]
    assert (change.action, change.who, change.why) == ("rollback", getpass.getuser(), "it lost money")
    done = place.ctl("models", "rollback", NAME)
    assert (done.returncode, "no version that served before" in done.stderr) == (1, True)
    done = place.ctl("models", "prune", "--keep", "1", "--reason", "too many", "--json")
    assert json.loads(done.stdout) == {"name": NAME, "removed": versions[1:3]}
    assert store.versions(NAME) == [versions[0], versions[3]]
    back, *gone = place.ctl("audit", "-n", "3").stdout.splitlines()
    assert f"rollback {NAME}/{versions[0]} previous={versions[1]}: it lost money" in back
    assert [line.partition(")  ")[2] for line in gone] == [f"prune {NAME}/{v}: too many" for v in versions[1:3]]
    assert all(f"  {getpass.getuser()} (process)  " in line for line in (back, *gone))


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ("show nothing", "has no model 'nothing', only: lightgbm-simulated"),
        ("show lightgbm-simulated/20270115T080000Z-001", "has no version '20270115T080000Z-001'"),
        ("show lightgbm-simulated/current", "no version serves; promote one"),
        ("show ../x", "no name of a model"),
        ("compare current nothing", "no version serves; promote one"),
        ("rollback nothing", "there is no model nothing"),
        ("promote", "was judged on 100; give those that it was trained on"),
    ],
)
def test_a_wrong_name_is_told(place: Place, store: ModelStore, arguments: str, found: str) -> None:
    save(store)
    done = place.ctl("models", *arguments.split())
    assert done.returncode == 1
    assert found in done.stderr
    assert store.linked(NAME) == ""


@pytest.mark.long
def test_a_challenger_is_compared_with_the_champion_on_the_bars_of_its_training(
    place: Place, store: ModelStore
) -> None:
    trained = ("train", "--days", "3", "--json")
    first = json.loads(place.ctl(*trained).stdout)
    assert (first["promoted"], first["champion"], first["comparison"]) == (True, "", None)
    assert first["reliability"]["excess"] < 0.03
    assert first["calibration"]["rows"] > 0, "the span, as the manifest has it"
    second = json.loads(place.ctl(*trained).stdout)
    assert (second["promoted"], second["champion"]) == (False, first["version"])
    assert second["comparison"]["gain"] == 0.0, "the same seed gives the same model"
    assert second["comparison"]["rows"] == second["test"]["rows"]
    assert "it is no better" in second["objections"][0]
    said = json.loads(place.ctl("models", "compare", "current", second["version"], "--json").stdout)
    assert {name: said[name] for name in second["comparison"]} == second["comparison"]
    done = place.ctl("models", "promote", second["version"])
    assert (done.returncode, "not promoted; --force lets it serve" in done.stdout) == (1, True)
    assert store.linked(NAME) == first["version"]
    done = place.ctl("models", "promote", second["version"], "--force", "--reason", "a test")
    assert done.returncode == 0, done.stderr
    assert "promoted: it serves from now on" in done.stdout
    assert store.linked(NAME) == second["version"]
    assert store.changes(NAME)[0][-1].why.startswith("a test; in spite of: on ")
    assert "serves already" in place.ctl("models", "promote").stdout


def test_a_promotion_notes_symbols_that_the_model_has_never_seen_and_names_the_candles_it_needs(
    place: Place, store: ModelStore
) -> None:
    version = store.save(manifest(), {MODEL: model_text()}).version
    done = place.ctl("models", "promote", version, "--force")
    assert done.returncode == 0, done.stderr
    assert "Note: not trained on ETH/USDT, which the configuration trades with it" in done.stderr
    save_of_mexc = manifest(name="lightgbm-mexc", exchange="mexc")
    store.save(save_of_mexc, {MODEL: b"tree\n"})
    done = place.ctl("models", "promote", "lightgbm-mexc")
    since = datetime.fromtimestamp(save_of_mexc.test.from_ms / 1000, UTC).date() - timedelta(days=2)
    assert done.returncode == 1
    assert f"--symbols BTC/USDT --since {since}`" in done.stderr
    assert "--candles FOLDER" in done.stderr
    store.save(manifest(name="lightgbm-replay", exchange="replay"), {MODEL: b"tree\n"})
    done = place.ctl("models", "promote", "lightgbm-replay")
    assert "--candles FOLDER" in done.stderr
    assert "download" not in done.stderr


def test_the_shell_completes_models_and_versions(place: Place, store: ModelStore) -> None:
    versions = [save(store), save(store)]
    save(store, "other")
    context = show.make_context("show", [])
    context.params["config_path"] = place.config

    def complete(typed: str) -> list[str]:
        return [str(item.value) for item in _complete(context, show.params[0], typed)]

    assert complete("") == [NAME, "other"]
    assert complete("l") == [NAME, *(f"{NAME}/{version}" for version in versions)]
    assert complete(f"{NAME}/2") == [f"{NAME}/{version}" for version in versions]
