"""What the account is worth over time, and what it earned: kept by the supervisor, checked by `doctor`."""
