"""Soak test: half an hour of good, bad and hostile traffic while processes are killed.

`python -m loadtest.soak` (`make soak`) starts a service of its own and checks every answer.
"""
