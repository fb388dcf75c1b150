"""Greedy growth, phase by phase."""
