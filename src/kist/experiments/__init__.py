"""Experiments as Git references: names, references, changes of parameters. Not here: running them (kist.repo)."""
