"""`python -m ovseg` is the command line."""

from ovseg.cli.main import main

main()
