"""`models`: what is stored, what serves, and what served before."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from levibot.cli.money import configuration
from levibot.cli.target import Target
from levibot.errors import LeviBotError, ModelError

if TYPE_CHECKING:
    from levibot.config import Config
    from levibot.ml.contest import Verdict
    from levibot.ml.manifest import Manifest
    from levibot.ml.rows import Rows
    from levibot.ml.store import ModelStore


def _complete(context: click.Context, _parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """Models and their versions, for the shell."""
    from levibot.ml.store import ModelStore

    try:
        store = ModelStore(configuration(Target(context.find_root().params.get("config_path"))).models_dir)
        found = [name for name in store.names if name.startswith(typed)]
        if "/" in typed or len(found) == 1:
            name = typed.partition("/")[0] if "/" in typed else found[0]
            found += [f"{name}/{version}" for version in store.versions(name)]
    except LeviBotError:  # completion stays silent
        return []
    return [CompletionItem(one) for one in found if one.startswith(typed)]


_model = click.argument("model", required=False, shell_complete=_complete)
_name = click.argument("name", required=False, shell_complete=_complete)
_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_reason = click.option("--reason", default="", help="Kept in the history, and told by `levibotctl audit`.")
_candles = click.option(
    "--candles",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder of the candles that the model was trained on; default: as of `levibotctl train`.",
)


@click.group()
def models() -> None:
    """Show models, let another version serve, or go back.

    MODEL is NAME, NAME/VERSION, or a VERSION of the model that the configuration names; `current` is the version
    that serves. A running daemon takes
    another version up within seconds.
    """


@models.command("list")
@_as_json
@click.pass_obj
def list_models(target: Target, /, *, as_json: bool) -> None:
    """Show all versions of all models, oldest first."""
    from levibot.cli import models_view
    from levibot.ml.store import ModelStore

    store = ModelStore(configuration(target).models_dir)
    rows = [row for name in store.names for row in models_view.versions(store, name)]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    elif rows:
        models_view.print_versions(rows)
    else:
        click.echo(f"no model in {store.folder}; train one with `levibotctl train`")


@models.command()
@_model
@_as_json
@click.pass_obj
def show(target: Target, /, *, model: str | None, as_json: bool) -> None:
    """Show one version: what it was made from, how good it is, and which versions served.

    By default the one that serves.
    """
    from levibot.cli import models_view

    config = configuration(target)
    store, manifest = _chosen(config, model, newest=False)
    document = models_view.version_document(store, manifest)
    if as_json:
        click.echo(json.dumps(document, indent=2))
    else:
        models_view.print_version(manifest, document)


@models.command()
@_model
@_candles
@click.option("--force", is_flag=True, help="Let it serve whatever the gate says; that is kept in the history.")
@_reason
@_as_json
@click.pass_obj
def promote(
    target: Target, /, *, model: str | None, candles: Path | None, force: bool, reason: str, as_json: bool
) -> None:
    """Let a version serve, if it is better than the one that does; by default the newest.

    Both are judged on the same bars, which neither has learned from.
    """
    from levibot.cli import models_view, promoting

    config = configuration(target)
    store, manifest = _chosen(config, model, newest=True)
    if store.linked(manifest.name) == manifest.version:
        click.echo(f"{manifest.reference} serves already")
        return
    verdict = promoting.noted(config, manifest, _judged(config, store, manifest, candles, force=force))
    promoted = force or not verdict.objections
    if promoted:
        why = "; ".join(filter(None, (reason, verdict.summary)))
        store.promote(manifest.name, manifest.version, who=promoting.user(), why=why, champion=verdict.champion)
    models_view.print_verdict(manifest, verdict, promoted=promoted, as_json=as_json)
    if not promoted:
        raise click.exceptions.Exit(1)


@models.command()
@_name
@_reason
@_as_json
@click.pass_obj
def rollback(target: Target, /, *, name: str | None, reason: str, as_json: bool) -> None:
    """Let the version serve that served before; once more: the one before that."""
    import msgspec

    from levibot.cli import promoting

    config = configuration(target)
    store, found, _ = _reference(config, name)
    change = store.rollback(found, who=promoting.user(), why=reason)
    if as_json:
        click.echo(json.dumps(msgspec.to_builtins(change)))
    else:
        click.echo(f"{found}/{change.version} serves from now on, in place of {change.previous or 'none'}")


@models.command()
@click.argument("first", shell_complete=_complete)
@click.argument("second", shell_complete=_complete)
@_candles
@_as_json
@click.pass_obj
def compare(target: Target, /, *, first: str, second: str, candles: Path | None, as_json: bool) -> None:
    """Judge two versions on the same bars: those of SECOND's test span that FIRST has not learned from."""
    from levibot.cli import models_view
    from levibot.errors import TrainingError
    from levibot.ml import contest, promotion
    from levibot.ml.lanes import LANES

    config = configuration(target)
    store, champion = _chosen(config, first, newest=False)
    _, challenger = _chosen(config, second, newest=False)
    other = promotion.label_objection(challenger.label, champion.label)
    if other:
        raise TrainingError(other)
    rows = _rows(config, challenger, candles)
    old, new = (LANES[one.kind].load(store.folder / one.reference, one.exchange) for one in (champion, challenger))
    paired, why = contest.compare(old, new, rows)
    if paired is None:
        raise TrainingError(why)
    models_view.print_comparison(paired, paired.objection(config.training.promotion_margin), as_json=as_json)


@models.command()
@_name
@click.option("--keep", type=click.IntRange(0), required=True, help="Newest versions that stay.")
@_reason
@_as_json
@click.pass_obj
def prune(target: Target, /, *, name: str | None, keep: int, reason: str, as_json: bool) -> None:
    """Remove old versions, but neither the one that serves nor the one that a rollback goes to.

    That they were judged, and on what, is not forgotten: of the best of many more is asked.
    """
    from levibot.cli import promoting

    store, found, _ = _reference(configuration(target), name)
    removed = store.prune(found, keep, who=promoting.user(), why=reason)
    if as_json:
        click.echo(json.dumps({"name": found, "removed": removed}))
    else:
        click.echo(f"{found}: {', '.join(removed) or 'nothing'} removed, {len(store.versions(found))} left")


def _reference(config: Config, written: str | None) -> tuple[ModelStore, str, str | None]:
    """Store, name, and the version if one is written."""
    from levibot.ml.store import CURRENT, ModelStore, is_version

    store = ModelStore(config.models_dir)
    if written is None:
        return store, config.model_name, None
    if written == CURRENT or is_version(written):
        return store, config.model_name, written
    name, _, version = written.partition("/")
    return store, name, version or None


def _chosen(config: Config, written: str | None, *, newest: bool) -> tuple[ModelStore, Manifest]:
    """The version that is named; else the newest, or the one that serves, if one does."""
    from levibot.ml.manifest import read_manifest
    from levibot.ml.store import CURRENT

    store, name, version = _reference(config, written)
    versions = store.versions(name)
    if not versions:
        known = ", ".join(store.names) or "none"
        raise ModelError(
            store.folder,
            f"has no model {name!r:.60}, only: {known}; name one, or train it with `levibotctl train`",
        )
    current = None if newest and version != CURRENT else store.current(name)
    if version in (None, CURRENT):
        if version == CURRENT and current is None:
            raise ModelError(store.folder / name, "no version serves; promote one: `levibotctl models promote`")
        version = versions[-1] if current is None else current.name
    if version not in versions:
        known = ", ".join(versions[-3:])
        raise ModelError(store.folder / name, f"has no version {version!r:.60}; the newest are: {known}")
    return store, read_manifest(store.folder / name / version)


def _judged(
    config: Config, store: ModelStore, manifest: Manifest, candles: Path | None, *, force: bool
) -> Verdict:
    """What the gate says; who forces a promotion needs no candles."""
    from levibot.cli import promoting
    from levibot.ml import contest

    rows: Rows | None = None
    trouble = ""
    try:
        rows = _rows(config, manifest, candles)
    except LeviBotError as error:
        if not force:
            raise
        trouble = f"not judged: {error}"
    verdict = contest.judge(store, manifest, rows, promoting.limits(config), promoting.market_ms(config))
    return verdict._replace(notes=[*verdict.notes, trouble]) if trouble else verdict


def _rows(config: Config, manifest: Manifest, candles: Path | None) -> Rows:
    """The rows that a version was judged on, made again of its candles."""
    from levibot.cli.train_view import progress
    from levibot.ml import contest, sources, train
    from levibot.ml.tft import sequences

    day_ms = 86_400_000
    days = (manifest.test.until_ms - manifest.test.from_ms) // day_ms + 3  # and what the features look back
    since = datetime.fromtimestamp(manifest.test.from_ms / 1000, UTC).date() - timedelta(days=2)
    with progress(quiet=True) as report:
        found = sources.choose(
            config,
            manifest.exchange,
            manifest.symbols,
            folder=candles,
            days=days,
            until=manifest.test.until_utc,
            since=since,
        )
        if manifest.kind == "tft":
            rows = sequences.remade(found, manifest, report)
        else:
            rows = train.remade(found, manifest.label, report)
    return contest.judged_rows(rows, manifest)
