"""What `levibotctl models` prints."""

from __future__ import annotations

import json
from typing import Any

import click
import msgspec
from rich.table import Table

from levibot.cli.train_view import describe
from levibot.cli.view import stdout_console
from levibot.errors import LeviBotError
from levibot.ml.contest import Verdict
from levibot.ml.manifest import Manifest, read_manifest, to_document, utc
from levibot.ml.promotion import Paired
from levibot.ml.splits import question
from levibot.ml.store import ModelStore

_SHOWN = 10  # newest changes


def versions(store: ModelStore, name: str) -> list[dict[str, Any]]:
    """One row for each version; one that cannot be read says so."""
    current, before = store.linked(name), store.previous(name)
    rows = []
    for version in store.versions(name):
        state = "serves" if version == current else "served before" if version == before else ""
        row: dict[str, Any] = {"name": name, "version": version, "state": state, "trouble": ""}
        try:
            manifest = read_manifest(store.folder / name / version)
        except LeviBotError as error:
            row["trouble"] = str(error)
        else:
            row |= {
                "kind": manifest.kind,
                "exchange": manifest.exchange,
                "symbols": list(manifest.symbols),
                "label": question(manifest.label),
                "auc": manifest.scores.auc,
                "log_loss": manifest.scores.log_loss,
                "test_until": manifest.test.until_utc,
                "expires": utc(manifest.expires_ms) if manifest.expires_ms else "",
                "missed": manifest.scores.missed,
            }
        rows.append(row)
    return rows


def print_versions(rows: list[dict[str, Any]]) -> None:
    """A table of them."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("model", "", "AUC", "log loss", "tested until", "expires", "question"):
        table.add_column(heading)
    for row in rows:
        name = f"{row['name']}/{row['version']}"
        if row["trouble"]:
            table.add_row(name, row["state"], "damaged")
            continue
        figures = (f"{row['auc']:.3f}", f"{row['log_loss']:.4f}")
        table.add_row(name, row["state"], *figures, row["test_until"], row["expires"] or "never", row["label"])
    stdout_console().print(table)


def version_document(store: ModelStore, manifest: Manifest) -> dict[str, Any]:
    """The manifest, whether it serves, and the history of its name."""
    changes, damaged = store.changes(manifest.name)
    return {
        **to_document(manifest),
        "missed": manifest.scores.missed,
        "serves": store.linked(manifest.name) == manifest.version,
        "rollback_to": store.previous(manifest.name),
        "history": [msgspec.to_builtins(change) for change in changes],
        "history_damaged": damaged,
    }


def print_version(manifest: Manifest, document: dict[str, Any]) -> None:
    """The same for people."""
    stdout_console().print(describe(manifest))
    click.echo("serves" if document["serves"] else "does not serve")
    for reason in manifest.scores.missed:
        click.echo(f"  {reason}")
    click.echo(f"`levibotctl models rollback {manifest.name}` goes to: {document['rollback_to'] or 'none'}")
    for change in document["history"][-_SHOWN:]:
        click.echo(
            f"  {change['at_utc']} {change['action']} {change['version']} by {change['who']}: {change['why']}"
        )
    if document["history_damaged"]:
        click.echo(f"Warning: {document['history_damaged']} lines of the history are damaged", err=True)


def print_verdict(manifest: Manifest, verdict: Verdict, *, promoted: bool, as_json: bool) -> None:
    """What the gate said, and whether the version serves now."""
    if as_json:
        click.echo(
            json.dumps({"name": manifest.name, "version": manifest.version, **gate(verdict, promoted=promoted)})
        )
        return
    say_verdict(verdict)
    if promoted:
        click.echo(f"{manifest.reference} promoted: it serves from now on")
    else:
        click.echo(f"{manifest.reference} not promoted; --force lets it serve all the same")


def gate(verdict: Verdict, *, promoted: bool) -> dict[str, Any]:
    """What the gate said, as JSON has it."""
    return {
        "promoted": promoted,
        "champion": verdict.champion,
        "objections": verdict.objections,
        "notes": verdict.notes,
        "reliability": msgspec.to_builtins(verdict.measured),
        "comparison": msgspec.to_builtins(verdict.paired),
    }


def say_verdict(verdict: Verdict) -> None:
    """Figures of the gate, for people."""
    if verdict.measured is not None:
        error, excess = verdict.measured.error, verdict.measured.excess
        click.echo(f"calibration: {error:.1%} off on average, {excess:.1%} beyond chance")
    if verdict.paired is not None:
        _say_comparison(verdict.paired)
    for note in verdict.notes:
        click.echo(f"Note: {note}", err=True)
    for reason in verdict.objections:
        click.echo(f"  {reason}")


def print_comparison(paired: Paired, objection: str, *, as_json: bool) -> None:
    """Two models on the same rows."""
    if as_json:
        click.echo(json.dumps({**msgspec.to_builtins(paired), "objection": objection}))
        return
    _say_comparison(paired)
    click.echo(f"not better by enough: {objection}" if objection else f"{paired.challenger} is better")


def _say_comparison(paired: Paired) -> None:
    click.echo(
        f"{paired.rows:,} rows from {paired.from_utc} to {paired.until_utc}, {paired.blocks} stretches: log loss "
        f"{paired.log_loss:.4f} of {paired.challenger}, {paired.champion_log_loss:.4f} of {paired.champion}; "
        f"gain {paired.gain:+.4f} ± {paired.gain_error:.4f}"
    )
