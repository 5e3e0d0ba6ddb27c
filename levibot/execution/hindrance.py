"""How a broker says that it cannot open its account: the beginning of what it waits for."""

ACCOUNT = "account: "  # it tries again soon, and it may pass by itself
REFUSED = "account refused: "  # a person must mend it
