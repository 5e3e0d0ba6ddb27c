"""Providers of on-chain data, each one source."""
