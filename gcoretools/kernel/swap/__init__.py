"""Swapped memory: what swap entries say, and where the pages went that they name."""
