"""``python -m levibot``: the daemon in the foreground.

Kept tiny: every worker imports the main module again.
"""

if __name__ == "__main__":
    from levibot.supervisor.startup import main

    main()
