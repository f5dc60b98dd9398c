"""Data and models from elsewhere: clones of other repositories, and places that addresses name."""
