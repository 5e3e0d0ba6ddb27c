"""A loopback exchange: Binance spot and MEXC spot on 127.0.0.1, for the real ccxt to talk to.

`server` wires it, `market` is its one market model, `sources` and `simulation` move it, `matching` trades
accounts on it, `faults` says what goes wrong, `dialects` translate it to each exchange's wire format, `log` and
`journal` keep what was asked and what truly happened, `connect` points ccxt at it.
"""
