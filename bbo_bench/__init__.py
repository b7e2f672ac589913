"""A benchmark suite for online black-box optimization: score, naturalness and diversity of designs."""

__version__ = "0.1.0"
