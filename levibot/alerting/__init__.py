"""Alerts: raised in one place, kept durably, told to people by a process of its own."""
