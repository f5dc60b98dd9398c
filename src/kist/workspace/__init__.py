"""What is on disk: ignore rules, the stat index, scan, checkout."""
