"""The command group, and how errors become texts and exit codes."""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from pathlib import Path

import click

from levibot import __version__
from levibot.api.client import ApiError, NotRunningError
from levibot.cli.target import Target
from levibot.errors import LeviBotError, UnknownSymbolError
from levibot.locations import DATA_DIR_VARIABLE

OK, ERROR, USAGE, NOT_RUNNING, NO_SUCH_SYMBOL = range(5)
_INTERRUPTED = 130

_COMMANDS = {
    "run": "levibot.cli.start:run",
    "start": "levibot.cli.start:start",
    "stop": "levibot.cli.stop:stop",
    "restart": "levibot.cli.engines:restart",
    "pause": "levibot.cli.engines:pause",
    "resume": "levibot.cli.engines:resume",
    "status": "levibot.cli.status:status",
    "positions": "levibot.cli.money:positions",
    "orders": "levibot.cli.money:orders",
    "trades": "levibot.cli.money:trades",
    "performance": "levibot.cli.performance:performance",
    "equity": "levibot.cli.equity:equity",
    "logs": "levibot.cli.logs:logs",
    "alerts": "levibot.cli.alerts:alerts",
    "add": "levibot.cli.engines:add",
    "remove": "levibot.cli.engines:remove",
    "close": "levibot.cli.closing:close",
    "settle": "levibot.cli.closing:settle",
    "reset": "levibot.cli.engines:reset",
    "reload": "levibot.cli.daemon:reload",
    "upgrade": "levibot.cli.daemon:upgrade",
    "kill": "levibot.cli.kill:kill",
    "risk": "levibot.cli.risk:risk",
    "audit": "levibot.cli.audit:audit",
    "backup": "levibot.cli.backup:backup",
    "restore": "levibot.cli.backup:restore",
    "download": "levibot.cli.download:download",
    "train": "levibot.cli.train:train",
    "features": "levibot.cli.features:features",
    "models": "levibot.cli.models:models",
    "altdata": "levibot.cli.altdata:altdata",
    "tap": "levibot.cli.tap:tap",
    "doctor": "levibot.cli.doctor:doctor",
    "config": "levibot.cli.config:config",
    "completion": "levibot.cli.completion:completion",
}


class LazyGroup(click.Group):
    """Imports the module of a command only when that command is wanted."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of a user's day."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of this name, imported."""
        if cmd_name not in _COMMANDS:
            return None
        module, _, attribute = _COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does it, but an unknown command is told the nearest."""
        near = difflib.get_close_matches(args[0], _COMMANDS, n=1)
        if args[0] not in _COMMANDS and near:
            ctx.fail(f"No such command {args[0]!r}; did you mean {near[0]}?")
        return super().resolve_command(ctx, args)


def _use_data_dir(_context: click.Context, _parameter: click.Parameter, folder: Path | None) -> None:
    """Set what the daemon and the other commands that this one starts are to see too."""
    if folder is not None:
        os.environ[DATA_DIR_VARIABLE] = str(folder.absolute())


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "-c",
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    help="Configuration file. Default: $LEVIBOT_CONFIG, ./supervisor.toml, /etc/levibot/supervisor.toml.",
)
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    callback=_use_data_dir,
    expose_value=False,
    help=f"Folder of the state; wins over the file, as ${DATA_DIR_VARIABLE} does.",
)
@click.version_option(__version__, prog_name="levibotctl")
@click.pass_context
def levibotctl(context: click.Context, config_path: Path | None) -> None:
    """Run and watch LeviBot: one process for each symbol, under one supervisor.

    Exit codes: 0 ok, 1 error, 2 usage, 3 the daemon is not running, 4 no such symbol.
    """
    context.obj = Target(config_path)


def main() -> None:
    """Entry point: run one command and exit."""
    sys.exit(run_command(sys.argv[1:]))


def run_command(arguments: list[str]) -> int:
    """Run one command; its errors are printed, and told by the exit code."""
    try:
        code = levibotctl.main(arguments, prog_name="levibotctl", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort as abort:
        if isinstance(abort.__cause__, KeyboardInterrupt) and str(abort.__cause__):
            click.echo(str(abort.__cause__), err=True)  # what was interrupted, and how to go on
        return _INTERRUPTED
    except LeviBotError as error:
        return report(error)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        click.echo(f"Error: {where}{error.strerror or error}", err=True)
        return ERROR
    return code if isinstance(code, int) else OK


def report(error: LeviBotError) -> int:
    """Print an error for the user; its exit code."""
    click.echo(f"Error: {error}", err=True)
    return exit_code(error)


def exit_code(error: LeviBotError) -> int:
    """Exit code that tells a script what went wrong."""
    if isinstance(error, NotRunningError):
        return NOT_RUNNING
    if isinstance(error, UnknownSymbolError) or (isinstance(error, ApiError) and error.code == 404):
        return NO_SUCH_SYMBOL
    return ERROR
