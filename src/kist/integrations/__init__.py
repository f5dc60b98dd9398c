"""Callbacks for training frameworks, one module each, that hand what happens to kist.logger.

A module imports its framework, so import the one that is used. Implements docs/spec/logger.md, section 6.
"""
