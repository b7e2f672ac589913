"""Learned models of the score."""
