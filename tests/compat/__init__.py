"""Kist beside the real DVC, on equal trees."""
