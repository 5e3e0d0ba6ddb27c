"""`doctor`: what is wrong with this machine and this installation, and what helps."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from levibot.cli.target import Target


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print a list of findings as JSON.")
@click.pass_context
def doctor(context: click.Context, as_json: bool) -> None:
    """Say what is wrong with this machine, and what helps.

    Looks at clock, disk, ports, locks, limits, versions, permissions and models, and asks the exchange that
    live prices come from. Works without a running daemon, and sees more with one. Exit code 1 if something
    must be mended.
    """
    from levibot.doctor.examination import examine

    target: Target = context.obj
    findings = list(examine(target.config_path))
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        from levibot.cli.doctor_view import print_findings

        print_findings(findings)
    context.exit(1 if any(finding.level == "fail" for finding in findings) else 0)
