"""Pure differences between trees; used by the command line and later by the hub."""
