"""Stages, losses, metrics and data of the training side (import name `cgiaa_training`)."""
