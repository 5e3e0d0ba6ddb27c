"""`doctor`: what is wrong with this machine and this installation, and what helps."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from levibot.cli.money import configuration
from levibot.cli.target import Target


@click.command()
@click.option(
    "--ledger", is_flag=True, help="Check instead that books, ledgers and equity agree to the last digit."
)
@click.option("--json", "as_json", is_flag=True, help="Print a list of findings as JSON.")
@click.pass_context
def doctor(context: click.Context, ledger: bool, as_json: bool) -> None:
    """Say what is wrong with this machine, and what helps.

    Looks at clock, disk, ports, locks, limits, versions, permissions and models, and asks the exchange that
    live prices come from, where real money is traded with the key of the account. Works without a running daemon,
    and sees more with one. Exit code 1 if something must be mended.
    """
    target: Target = context.obj
    if ledger:
        from levibot.doctor.ledger import examine_ledgers

        findings = list(examine_ledgers(configuration(target).state_dir))
    else:
        from levibot.doctor.examination import examine

        findings = list(examine(target.config_path))
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        from levibot.cli.doctor_view import print_findings

        print_findings(findings)
    context.exit(1 if any(finding.level == "fail" for finding in findings) else 0)
