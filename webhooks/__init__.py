"""Hears from GitHub, believes nothing unsigned, and asks for a run."""
