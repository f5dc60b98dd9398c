"""What a running training writes: rows that survive a kill, and the spool of what MLflow is still to get."""
