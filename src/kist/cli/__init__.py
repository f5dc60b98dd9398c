"""Parse, call kist.repo, render."""
