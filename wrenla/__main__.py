"""`python -m wrenla` is the command line."""

from wrenla.cli.main import main

if __name__ == "__main__":
    main(prog_name="wrenla")
