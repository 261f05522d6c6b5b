"""What several Tritons behind nginx gain by consistent hashing, and what callers see when one dies.

    python -m loadtest.scale_out --out docs/benchmarks/scale_out.md    # about four minutes

Tritons with one thread each, two gateways and nginx with the configuration of deploy/scale-out run
on this machine's loopback, and callers ask through all of it. Their photos are more than one Triton
can remember, and fewer than all of them can.

- Hashed and random balancing take turns, each after all photos were asked once: how many embeddings
  were found in a cache, by Triton's own count, and how many requests were answered.
- All callers ask about one photo: how the Tritons share that, with the bound of the load and
  without.
- A Triton is killed (SIGKILL to tritonserver and its stages) and not repaired for a while: how
  requests end, and whether the gateways stay ready.
- A Triton is added under load: how requests end, and which photos move.

The gateways refuse nothing for being slow, so whatever is not a 200 is a failure. The machine's
cores are shared by everything: compare the figures with each other only. Exit code 1 if a promise
is broken.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Annotated

import typer

from loadtest.cluster import (
    Cluster,
    Policy,
    cache_counts,
    find_nginx,
    kill_triton,
    revive_triton,
)
from loadtest.photo_callers import PhotoCallers
from loadtest.scale_out_findings import (
    KEYS,
    Addition,
    Death,
    Measurement,
    broken_promises,
    document,
)
from loadtest.soak.exchanges import Addresses, post
from ovseg.bench.machine import describe_machine
from ovseg.bench.markdown import table
from ovseg.bench.verdict import conclude
from ovseg.server.service import Service

_READY_EVERY_S = 0.1


def measure(
    cluster: Cluster, callers: PhotoCallers, policy: Policy, seconds: float, photos: int | None
) -> Measurement:
    """One policy, after all photos (or the first few) were asked once under it."""
    cluster.balancer.policy = policy
    cluster.balancer.apply()
    callers.ask_each_once(photos)
    before = [cache_counts(service) for service in cluster.tritons]
    started = time.monotonic()
    exchanges = callers.ask_for(seconds, photos)
    after = [cache_counts(service) for service in cluster.tritons]
    hits, misses = (
        [new[k] - old[k] for old, new in zip(before, after, strict=True)] for k in (0, 1)
    )
    return Measurement(policy, started, seconds, exchanges, hits, misses)


def watch_death(cluster: Cluster, callers: PhotoCallers, dead_s: float) -> Death:
    """Kill the first Triton under load, and let it be repaired after a while."""
    victim = cluster.tritons[0]
    with callers.asking() as exchanges, _looking(cluster.gateways) as looks:
        time.sleep(dead_s / 4)
        killed = time.monotonic()
        kill_triton(victim)
        try:
            time.sleep(dead_s)
        finally:
            revive_triton(victim)
        revived = time.monotonic()
        _wait_for(victim, cluster)
        whole = time.monotonic()
        time.sleep(dead_s / 4)
    return Death(
        in_flight=[e for e in exchanges if e.sent < killed <= e.ended],
        later=[e for e in exchanges if killed <= e.sent < revived],
        after=[e for e in exchanges if e.sent >= whole],
        unready=sum(status != 200 for status in looks),
        looks=len(looks),
    )


def watch_addition(cluster: Cluster, callers: PhotoCallers, seconds: float) -> Addition:
    """Add a Triton under load."""
    keys = [sha256(str(k).encode()).hexdigest() for k in range(KEYS)]
    old = cluster.balancer.owners(keys)
    added = cluster.add_triton()
    with callers.asking() as exchanges:
        time.sleep(seconds / 4)
        cluster.balancer.apply()
        time.sleep(seconds)
    new = cluster.balancer.owners(keys)
    moved = [key for key in keys if new[key] != old[key]]
    elsewhere = [key for key in moved if new[key] != added.grpc_address]
    return Addition(len(cluster.tritons) - 1, len(moved), len(elsewhere), exchanges)


def main(
    replicas: Annotated[int, typer.Option(min=2, help="Tritons at first.")] = 3,
    gateways: Annotated[int, typer.Option(min=1)] = 2,
    photos: Annotated[int, typer.Option(min=2, help="Different images.")] = 24,
    cache_mb: Annotated[float, typer.Option(help="Embedding cache of each Triton.")] = 44.0,
    callers: Annotated[int, typer.Option(min=1, help="At the same time.")] = 6,
    max_running: Annotated[int, typer.Option(min=1, help="OVSEG_MAX_RUNNING.")] = 3,
    seconds: Annotated[float, typer.Option(help="Of each measurement.")] = 10.0,
    rounds: Annotated[int, typer.Option(min=1, help="Of hashed and random in turn.")] = 2,
    nginx: Annotated[str | None, typer.Option(help="The program; or $NGINX.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write the report as Markdown.")] = None,
) -> None:
    """Measure a cluster on this machine: see the text at the file's top."""
    program = nginx or find_nginx()
    if program is None:
        raise typer.BadParameter("there is no nginx (Debian: apt-get install nginx-light)")
    machine = table(("", ""), describe_machine().items())
    with Cluster(program, replicas, gateways, max_running, int(cache_mb * 1e6)) as cluster:
        typer.echo(f"{replicas} Tritons, {gateways} gateways and nginx run")
        asking = PhotoCallers(cluster.addresses, photos, callers)
        measured = []
        for number in range(rounds):
            policies: tuple[Policy, ...] = ("hashed", "random")
            for policy in policies if number % 2 == 0 else policies[::-1]:
                measured.append(measure(cluster, asking, policy, seconds, None))
                typer.echo(" | ".join(measured[-1].row()))
        hot = []
        for policy in ("hashed, no bound", "hashed"):
            hot.append(measure(cluster, asking, policy, seconds / 2, 1))
            typer.echo(" | ".join(hot[-1].row()))
        death = watch_death(cluster, asking, seconds)
        typer.echo("\n".join(death.lines()))
        addition = watch_addition(cluster, asking, seconds / 2)
        typer.echo("\n".join(addition.lines()))
    setting = (
        f"{replicas} Tritons (`sam_mini`, one thread and {cache_mb:g} MB of cache each), "
        f"{gateways} gateways that send {max_running} requests at once, at most {cluster.bound} "
        f"calls for each Triton; {callers} callers, {photos} photos, one box."
    )
    broken = broken_promises(measured, hot, death, addition)
    broken += [f"wrong masks: {problem}" for problem in asking.wrong]
    conclude(document(machine, setting, measured, hot, death, addition, broken), out, broken)


def _wait_for(service: Service, cluster: Cluster, timeout_s: float = 120.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not cluster.is_serving(service):
        if time.monotonic() > deadline:
            raise TimeoutError("the Triton was not repaired")
        time.sleep(_READY_EVERY_S)


@contextmanager
def _looking(gateways: list[Addresses]) -> Iterator[list[int]]:
    """Look at all gateways' readiness all the time."""
    statuses: list[int] = []
    over = threading.Event()

    def look() -> None:
        while not over.wait(_READY_EVERY_S):
            statuses.extend(
                post(gateway, b"", {}, method="GET", path="/health/ready").status
                for gateway in gateways
            )

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield statuses
    finally:
        over.set()
        thread.join()


if __name__ == "__main__":
    typer.run(main)
