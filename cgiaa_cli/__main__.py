"""The entry point: of `cgiaa` and of `python -m cgiaa_cli`, so that both are the same program.

It imports nothing by itself: Ctrl-C is most likely to come while Python still loads modules, before `cli.run`
listens for it.
"""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the program, and end with exit code 130 and one line wherever Ctrl-C meets it."""
    try:
        from cgiaa_cli.cli import main as run

        run()
    except KeyboardInterrupt:
        print("cgiaa: interrupted; what was finished is kept", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
