"""Content-addressed objects: loose layout, links, verification."""
