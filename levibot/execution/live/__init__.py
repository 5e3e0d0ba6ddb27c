"""Live trading: orders on a real exchange, tracked, protected and reconciled; never sent twice."""
