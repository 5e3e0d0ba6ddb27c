"""Market data streamed from a real exchange: what it says, whether to believe it, and what was missed."""
