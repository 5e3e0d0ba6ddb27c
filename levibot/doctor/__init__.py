"""Looks at the machine and the installation, and says what is wrong and what helps."""
