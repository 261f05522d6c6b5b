"""`ovseg token`."""

from __future__ import annotations

from typing import Annotated

import typer

from ovseg.tokens import new_token, token_hash_entry


def token(
    name: Annotated[
        str, typer.Argument(help="Whose it is, for logs and limits: letters, digits, '.-_'.")
    ],
) -> None:
    """Make a token for a caller, and the hash that the server keeps of it.

    The first line is the token: give it to the caller, who sends it as `Authorization: Bearer …`
    or puts it into OVSEG_TOKEN for `ovseg predict` and the Python client. It is shown only now.

    The second line goes into the server's OVSEG_TOKEN_HASHES, behind a comma if there are others.
    """
    made = new_token()
    try:
        entry = token_hash_entry(name, made)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="NAME") from None
    typer.echo(made)
    typer.echo(entry)
    typer.echo(
        "The first line is the token, shown only now; the second belongs into OVSEG_TOKEN_HASHES "
        "of the server, which asks for tokens when it is started with it.",
        err=True,
    )
