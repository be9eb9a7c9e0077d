"""The gateway as people and programs use it: its own process, real services behind it, a real browser before it."""
