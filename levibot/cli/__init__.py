"""``levibotctl``: the command line. Each command is imported when it is called."""

from levibot.cli.app import main

__all__ = ["main"]
