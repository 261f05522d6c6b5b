"""The command line `ovseg`."""
