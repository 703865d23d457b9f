"""The one tree of errors that deep code raises and `cgiaa_cli.cli` prints.

Every error names the path it is about (where there is one), the cause, and the mend. The boundary in
`cli.main` prints that as one line on stderr and exits with `exit_code`; `--debug` shows the traceback.

Exit codes of every command:

    0    done
    1    nothing matched
    2    usage or fatal error (everything below except PhotoError and SidecarError)
    3    some photos failed, the rest succeeded
    130  interrupted; what was finished is kept
"""

from __future__ import annotations

__all__ = [
    "BundleError",
    "CacheError",
    "CgiaaError",
    "DeviceError",
    "ExtraMissingError",
    "PhotoError",
    "SidecarError",
    "UsageError",
]


class CgiaaError(Exception):
    """Base of all errors that a user can meet.

    Args:
        cause: what went wrong, in plain words, without the path.
        path: the file or folder it is about, already printable (see `cgiaa_cli.paths.escape`).
        mend: what the user can do about it.
    """

    exit_code = 2

    def __init__(self, cause: str, *, path: str | None = None, mend: str | None = None) -> None:
        self.cause = cause
        self.path = path
        self.mend = mend
        super().__init__(str(self))

    def __str__(self) -> str:
        line = f"{self.path}: {self.cause}" if self.path else self.cause
        return f"{line}; {self.mend}" if self.mend else line


class UsageError(CgiaaError):
    """The command line or the config file asks for something impossible."""


class BundleError(CgiaaError):
    """A model bundle is missing, damaged, or of a format this version does not know."""


class CacheError(CgiaaError):
    """The cache cannot be opened, read or written (locked, corrupt, newer schema, disk full)."""


class DeviceError(CgiaaError):
    """The asked-for device is not the one that ONNX Runtime really uses."""


class ExtraMissingError(CgiaaError):
    """A package of an optional extra is not installed.

    Args:
        extra: name of the extra in pyproject.toml (`cpu`, `gpu`, `heif`, `raw`, `train`, ...).
        needed_for: what cannot be done without it.
    """

    def __init__(self, extra: str, needed_for: str, *, path: str | None = None) -> None:
        self.extra = extra
        super().__init__(
            f"{needed_for} needs the extra '{extra}'",
            path=path,
            mend=f"install it with: pip install 'cgiaa[{extra}]'",
        )


class SidecarError(CgiaaError):
    """A sidecar, or a photo that is to hold the same, cannot be read or written; it is as it was before."""

    exit_code = 3


class PhotoError(CgiaaError):
    """One photo cannot be scored. It costs one line and one row in the cache, never the run.

    Args:
        kind: machine-readable cause, stored in the cache; one of `KINDS`.
    """

    exit_code = 3
    KINDS = ("corrupt", "truncated", "empty", "bomb", "extra", "unreadable", "unsupported")

    def __init__(self, kind: str, cause: str, *, path: str | None = None, mend: str | None = None) -> None:
        if kind not in self.KINDS:
            raise ValueError(f"unknown kind of photo error: {kind}")
        self.kind = kind
        super().__init__(cause, path=path, mend=mend)
