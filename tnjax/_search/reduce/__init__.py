"""Search on a smaller stand-in for the data, and back."""
