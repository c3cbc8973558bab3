"""`python -m rdp` is the command line."""

from rdp.cli.app import main

if __name__ == "__main__":
    main()
