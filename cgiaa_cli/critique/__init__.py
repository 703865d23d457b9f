"""Critiques: a decoder driven by score and measurements, and what its sentences claim about the photo."""
