"""All strategies but `Greedy`."""
