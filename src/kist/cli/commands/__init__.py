"""One module per command, imported only when asked for."""
