"""Queries per round, and how many designs are evaluated."""
