"""The only caller of the git program."""
