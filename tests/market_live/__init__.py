"""Live market data from the loopback exchange: its streams through the real ccxt, and a whole feed process."""
