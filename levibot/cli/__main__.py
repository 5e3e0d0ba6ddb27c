"""``python -m levibot.cli``: the command line without its console script."""

from levibot.cli.app import main

if __name__ == "__main__":
    main()
