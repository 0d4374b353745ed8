"""Accounts: who may sign in, their tokens, and the keys that sign them."""
