"""`python -m cgiaa_cli` is `cgiaa`."""

from cgiaa_cli.cli import main

if __name__ == "__main__":
    main()
