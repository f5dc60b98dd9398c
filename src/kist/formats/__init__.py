"""Bytes to frozen records and back; no file access."""
