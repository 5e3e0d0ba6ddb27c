"""The whole state of an account as one file, and back."""
