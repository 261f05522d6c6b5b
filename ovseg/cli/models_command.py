"""`ovseg models`."""

from __future__ import annotations

from typing import Annotated, Any

import orjson
import typer
from msgspec import to_builtins
from rich.console import Console
from rich.table import Table

from ovseg.checkpoints.installed import InstalledModel, State, find_installed_models
from ovseg.checkpoints.published import PUBLISHED_MODELS, PublishedModel
from ovseg.cli.progress import shown_steps
from ovseg.engines import EngineError
from ovseg.engines.choosing import choose_engine
from ovseg.manifest import ModelManifest, ProgramPart
from ovseg.settings import Settings, get_settings

TABLE_WIDTH = 160
PARTS: tuple[ProgramPart, ...] = ("encoder", "decoder")


def models(
    verify: Annotated[
        bool,
        typer.Option("--verify", help="Check every file's SHA-256; exit code 1 if one differs."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for scripts.")] = False,
) -> None:
    """List the installed models, and those that can be fetched.

    Those that `ovseg serve` serves are marked with `*`: choose them with OVSEG_MODEL, and further
    ones with OVSEG_MODELS.
    """
    settings = get_settings()
    if verify and not as_json:
        with shown_steps() as step:
            step(f"checking the files in {settings.model_dir}")
            installed = find_installed_models(settings.model_dir, verify=True)
    else:
        installed = find_installed_models(settings.model_dir, verify)
    if as_json:
        typer.echo(orjson.dumps(_as_json(installed, settings), option=orjson.OPT_INDENT_2).decode())
    else:
        _print_tables(installed, settings)
    if verify and any(model.state is State.DAMAGED for model in installed):
        raise typer.Exit(1)


def choices_of(manifest: ModelManifest, settings: Settings) -> dict[ProgramPart, str]:
    """What runs each part of a model under these settings, such as "openvino bf16"."""
    choices: dict[ProgramPart, str] = {}
    for part in PARTS:
        try:
            choices[part] = str(choose_engine(part, settings, manifest))
        except EngineError:
            choices[part] = "refused"
    if manifest.kind == "fused":
        choices["encoder"] = "none"
    return choices


def megabytes(size_bytes: int) -> str:
    """A size for people."""
    return f"{size_bytes / 1e6:,.1f} MB"


def _print_tables(installed: list[InstalledModel], settings: Settings) -> None:
    # Wider than most terminals, where the lines then wrap: cut names would be of no use.
    console = Console(highlight=False, markup=False, width=TABLE_WIDTH)
    console.print(f"Installed in {settings.model_dir}:")
    if installed:
        served = {settings.model, *settings.further_models}
        console.print(_installed_table(installed, served, settings))
    else:
        console.print("  none (the bundled model is prepared by `ovseg serve`)")
    for model in installed:
        if model.damage:
            console.print(f"{model.folder.name}: {model.damage}; install it again")
        elif model.manifest and not model.manifest.checks:
            console.print(
                f"{model.folder.name}: its engines were not compared; `ovseg check "
                f"{model.folder.name}` does it"
            )
    console.print("\nTo install one of these: ovseg fetch NAME")
    console.print(_published_table({model.folder.name for model in installed}))


def _installed_table(
    installed: list[InstalledModel], served: set[str], settings: Settings
) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in ("", "name", "variant", "source"):
        table.add_column(column, no_wrap=True)
    for column in ("parameters", "input", "size"):
        table.add_column(column, justify="right", no_wrap=True)
    for column in ("encoder", "decoder", "files"):
        table.add_column(column, no_wrap=True)
    for model in installed:
        mark = "*" if model.folder.name in served else ""
        manifest = model.manifest
        if manifest is None:
            table.add_row(mark, model.folder.name, *[""] * 7, model.state.value)
            continue
        table.add_row(
            mark,
            model.folder.name,
            manifest.variant,
            manifest.source,
            f"{manifest.parameters / 1e6:,.1f} M",
            str(manifest.input_size),
            megabytes(model.size_bytes),
            *(choices_of(manifest, settings)[part] for part in PARTS),
            model.state.value,
        )
    return table


def _published_table(installed_names: set[str]) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in ("name", "what", "publisher", "licence"):
        table.add_column(column, no_wrap=True)
    for column in ("parameters", "input", "download"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("checksum", no_wrap=True)
    for model in PUBLISHED_MODELS.values():
        table.add_row(
            model.name,
            f"{model.what} (installed)" if model.name in installed_names else model.what,
            model.publisher,
            model.licence,
            f"{model.parameters / 1e6:,.1f} M",
            str(model.input_size),
            megabytes(model.approximate_bytes),
            "known" if model.has_checksums else "first use",
        )
    return table


def _as_json(installed: list[InstalledModel], settings: Settings) -> dict[str, Any]:
    return {
        "installed": [
            {
                "name": model.folder.name,
                "state": model.state.value,
                "damage": model.damage or None,
                "bytes": model.size_bytes,
                "engines": model.engines,
                "runs_with": choices_of(model.manifest, settings) if model.manifest else None,
                "manifest": to_builtins(model.manifest) if model.manifest else None,
            }
            for model in installed
        ],
        "fetchable": [_published_as_json(model) for model in PUBLISHED_MODELS.values()],
    }


def _published_as_json(model: PublishedModel) -> dict[str, Any]:
    return {
        "name": model.name,
        "what": model.what,
        "publisher": model.publisher,
        "licence": model.licence,
        "parameters": model.parameters,
        "input_size": model.input_size,
        "bytes": model.approximate_bytes,
        "files": [{"url": file.url, "sha256": file.sha256} for file in model.files],
    }
