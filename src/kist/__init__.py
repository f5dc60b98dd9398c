"""Kist: data version control beside Git. Importing this package loads nothing else."""

__version__ = "0.1.0"
