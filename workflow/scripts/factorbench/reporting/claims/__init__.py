"""The claims of a publication, tested against the tables."""
