"""States of a search on disk."""
