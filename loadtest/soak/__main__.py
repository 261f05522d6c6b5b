"""`python -m loadtest.soak`."""

from loadtest.soak.command import app

app()
