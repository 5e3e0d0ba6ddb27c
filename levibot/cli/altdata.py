"""`altdata`: what is known of sentiment and chains, how old it is, and how its sources fare."""

from __future__ import annotations

import json

import click

from levibot.cli.target import Target


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the document of the HTTP interface.")
@click.pass_obj
def altdata(target: Target, as_json: bool) -> None:
    """Show alternative data: sources, and what they told last."""
    document = target.client().get("/altdata")
    if as_json:
        click.echo(json.dumps(document, indent=2))
        return
    from levibot.cli.altdata_view import altdata_view
    from levibot.cli.view import stdout_console

    stdout_console().print(altdata_view(document))
