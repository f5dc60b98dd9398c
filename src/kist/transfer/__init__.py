"""Which objects move where, in what order, with which checks."""
