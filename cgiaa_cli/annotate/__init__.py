"""What was found, written where other software reads it: XMP sidecars and, where asked for, the files themselves."""
