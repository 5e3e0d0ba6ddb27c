"""LeviBot: a supervised crypto trading daemon with one operating-system process per symbol."""

__version__ = "0.1.0"
