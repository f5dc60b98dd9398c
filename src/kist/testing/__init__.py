"""Contract suites, fixtures and strategies for tests."""
