"""Stages, interpolation and change detection."""
