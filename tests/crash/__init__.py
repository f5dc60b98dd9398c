"""Kills, power cuts, full disks and damaged files: what must never cost anyone data."""
