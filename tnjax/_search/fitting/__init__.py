"""Fits of one structure or of many."""
