"""What a training shows: how far it has come, and what came of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from levibot.cli.view import stdout_console
from levibot.ml.contest import Verdict
from levibot.ml.manifest import Manifest, Part, to_document
from levibot.ml.material import Progress as Told
from levibot.ml.scored import Scores
from levibot.ml.splits import question


@contextmanager
def progress(*, quiet: bool) -> Iterator[Told]:
    """Show each stage: a bar on a terminal, a line elsewhere."""
    console = Console(stderr=True)
    if quiet:
        yield lambda _stage, _done, _total: None
    elif console.is_terminal:
        with Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        ) as display:
            yield _bars(display)
    else:
        yield _lines()


def print_result(manifest: Manifest, verdict: Verdict, *, promoted: bool, as_json: bool) -> None:
    """Say what was trained on, how good it is, and whether it serves."""
    from levibot.cli import models_view

    missed = manifest.scores.missed
    if as_json:
        gate = models_view.gate(verdict, promoted=promoted)
        click.echo(json.dumps({**to_document(manifest), **gate, "missed": missed}))
        return
    stdout_console().print(describe(manifest))
    judged = "does NOT beat every constant" if missed else "beats every constant, by more than chance,"
    click.echo(f"{manifest.reference} {judged} on the test span")
    models_view.say_verdict(verdict)
    if promoted:
        click.echo("promoted: it serves from now on")
    elif not verdict.objections:
        click.echo("not promoted, as asked; train with --promote to let a model serve")
    else:
        command = f"levibotctl models promote {manifest.reference} --force"
        click.echo(f"not promoted; `{command}` lets it serve all the same")


def say_search(manifest: Manifest, already: int) -> None:
    """What a search for better settings came to, which has gone on from `already` trials."""
    found = manifest.params
    before = f", defaults {default:.4f}" if (default := found.get("tuning_default_log_loss")) is not None else ""
    click.echo(
        f"{already} of {found['tuning_trials']} trials were there already; "
        f"tuning log loss {found['tuning_log_loss']:.4f}{before}"
    )


def _bars(display: Progress) -> Told:
    tasks: dict[str, TaskID] = {}

    def report(stage: str, done: int, total: int | None) -> None:
        if stage not in tasks:
            for task in tasks.values():
                display.update(task, visible=False)
            tasks[stage] = display.add_task(stage, total=total)
        display.update(tasks[stage], completed=done)

    return report


def _lines() -> Told:
    said: set[str] = set()

    def report(stage: str, _done: int, total: int | None) -> None:
        if stage not in said:
            said.add(stage)
            click.echo(f"{stage} ({total:,})" if total else stage, err=True)

    return report


def describe(manifest: Manifest) -> Table:
    """What is known of a version, for people."""
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    scores = manifest.scores
    rows = {
        "model": manifest.reference,
        "symbols": ", ".join(manifest.symbols),
        "question": question(manifest.label),
        "train": _span(manifest.train),
        "tuning": _span(manifest.tuning),
        **({} if manifest.calibration is None else {"calibration": _span(manifest.calibration)}),
        "test": _span(manifest.test),
        **({"trees": str(sum(file.trees for file in manifest.files))} if manifest.kind == "lightgbm" else {}),
        "AUC": f"{scores.auc:.3f} (guessing: 0.500)",
        "log loss": f"{scores.log_loss:.4f} ({_constants(scores)})",
        "Brier": f"{scores.brier:.4f} (base rate: {scores.base_brier:.4f})",
    }
    for name, text in rows.items():
        table.add_row(name, text)
    return table


def _constants(scores: Scores) -> str:
    known = {"constant 0.5": scores.even, "test span's base rate": scores.hindsight}
    texts = [f"{name}: {constant.log_loss:.4f}" for name, constant in known.items() if constant is not None]
    return ", ".join([*texts, f"training span's: {scores.base_log_loss:.4f}"])


def _span(part: Part) -> str:
    return (
        f"{part.from_utc} to {part.until_utc}, {part.rows:,} rows, "
        f"{part.positives:.1%} rises, overlap {part.concurrency:.0f}×, uniqueness {part.uniqueness:.3f}"
    )
