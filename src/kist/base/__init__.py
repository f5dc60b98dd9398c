"""Standard library only: paths, digests, atomic writes, locks, progress, clock."""
