"""The local page of `cgiaa review`: photos with picks and rejects, side by side, and choices between two."""
