"""The live source, in a real feed process that streams from the loopback exchange."""
