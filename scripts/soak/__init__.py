"""Watching a daemon for a long time, and judging how it went."""
