"""`python -m funclet` is `fgs`."""

from funclet.cli.main import main

if __name__ == "__main__":
    main()
