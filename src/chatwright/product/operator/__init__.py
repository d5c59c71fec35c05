"""Operator: people, groups, keys, reports, feedback, live traffic, settings, and the log of all that was changed."""
