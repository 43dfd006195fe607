"""`python -m oarlock`."""

from oarlock.cli import main

if __name__ == "__main__":
    main()
