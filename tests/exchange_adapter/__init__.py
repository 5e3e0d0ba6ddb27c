"""Tests of `levibot.exchange`: the real ccxt, talking to the loopback exchange of `tests.exchange`."""
