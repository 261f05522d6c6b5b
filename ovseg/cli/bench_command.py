"""`ovseg bench`: measurements on this machine; each sub-command is in a file of its own."""

from __future__ import annotations

import typer

from ovseg.cli import bench_engines_command, bench_peer_command, bench_service_commands

bench = typer.Typer(
    help="Measure on this machine, and write the tables of docs/benchmarks.",
    no_args_is_help=True,
)

bench.command("peer")(bench_peer_command.peer)
bench.command("engines")(bench_engines_command.engines)
bench.command("breakdown")(bench_service_commands.breakdown)
bench.command("instances")(bench_service_commands.instances)
