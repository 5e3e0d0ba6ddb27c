"""The adapter to a real exchange: the one place that talks to it, for feed, broker and downloads.

`session` opens it and runs every request, `guard` watches ccxt from inside, `failures` and `validation` say
what went wrong, `budget` and `cooldown` keep its rate limit, `quirks` holds what is special of each exchange,
`markets` and `candles` read it. ccxt is imported only when a session is opened: it costs 100 MB.
"""
