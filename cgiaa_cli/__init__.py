"""cgiaa: curate photo libraries by aesthetics, and say why."""

__all__ = ["__version__"]

__version__ = "0.1.0"
