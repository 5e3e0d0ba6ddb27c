"""Live trading: what needs no exchange, and what is tried on the loopback exchange."""
