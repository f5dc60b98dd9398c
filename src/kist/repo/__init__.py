"""Repository and one module per verb."""
