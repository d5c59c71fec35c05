"""Accounts: who somebody is (passwords, sessions, keys, sign-in elsewhere), what they may, and how much of it."""
