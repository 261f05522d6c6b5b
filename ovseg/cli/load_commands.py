"""`ovseg load` and `ovseg unload`: what a running server serves, without a restart."""

from __future__ import annotations

from typing import Annotated

import typer
from tritonclient.utils import InferenceServerException

from ovseg.cli.failing import fail
from ovseg.manifest import ModelNotInstalledError
from ovseg.server.errors import ServerStartError
from ovseg.server.model_control import connected
from ovseg.server.warm_up import warm_up
from ovseg.settings import get_settings

_WARM_UP_TIMEOUT_S = 120.0

Name = Annotated[str, typer.Argument(metavar="NAME", help="An installed model.")]


def load(name: Name) -> None:
    """Serve another installed model in a running server, beside those it serves.

    Requests choose it with the field `model`, or by a promptType that the default does not take.
    Loading again, the default too, replaces a model with what is installed now. No request is lost.
    """
    settings = get_settings()
    try:
        with connected(settings.triton_grpc_address) as control:
            served = control.load(settings, name)
        warm_up(settings.triton_grpc_address, served, _WARM_UP_TIMEOUT_S)
    except (ServerStartError, ModelNotInstalledError) as error:
        fail(str(error))
    except InferenceServerException as error:
        fail(f"{name}: {error.message()}")
    typer.echo(f"{name} is served; its Triton model is {served.ensemble}")


def unload(name: Name) -> None:
    """Stop serving a model that `ovseg load` or OVSEG_MODELS loaded; requests under way finish."""
    settings = get_settings()
    try:
        with connected(settings.triton_grpc_address) as control:
            control.unload(name)
    except ServerStartError as error:
        fail(str(error))
    except InferenceServerException as error:
        fail(f"Triton at {settings.triton_grpc_address}: {error.message()}")
    typer.echo(f"{name} is no longer served")
