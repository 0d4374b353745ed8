"""`python -m switchgear`: the command line, where its script is not on the PATH."""

from switchgear.cli import main

if __name__ == "__main__":
    main()
