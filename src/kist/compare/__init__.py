"""Pure differences between trees."""
