"""kill -9 at every moment of a daemon that trades busily, and an audit of what is left."""
