"""What a deployment that others can reach needs: TLS, and a word where something is open to all."""

from __future__ import annotations

import ipaddress
import ssl
from typing import Any, Literal

from ovseg.server.errors import ServerStartError
from ovseg.settings import Settings


def uvicorn_options(settings: Settings) -> dict[str, Any]:
    """Keyword arguments of `uvicorn.Config`: TLS where it is set up, no word of the server.

    Raises:
        ServerStartError: as `check_tls`.
    """
    check_tls(settings)
    options: dict[str, Any] = {
        "server_header": False,
        "timeout_keep_alive": settings.keep_alive_s,
    }
    if settings.tls_cert and settings.tls_key:
        options |= {"ssl_certfile": settings.tls_cert, "ssl_keyfile": settings.tls_key}
    return options


def check_tls(settings: Settings) -> None:
    """Refuse to start with a certificate that cannot work, before anything slow is done.

    Raises:
        ServerStartError: one of the two files is not named, missing, not PEM, encrypted, or they
            do not belong together.
    """
    cert, key = settings.tls_cert, settings.tls_key
    if cert is None and key is None:
        return
    if cert is None or key is None:
        missing = "OVSEG_TLS_CERT" if cert is None else "OVSEG_TLS_KEY"
        raise ServerStartError(f"TLS needs both OVSEG_TLS_CERT and OVSEG_TLS_KEY; set {missing}")
    for name, file in (("OVSEG_TLS_CERT", cert), ("OVSEG_TLS_KEY", key)):
        try:
            file.open("rb").close()
        except OSError as error:
            raise ServerStartError(f"{name}: {file}: {error.strerror}") from None
    try:
        # Without a password function OpenSSL would ask at the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key, _no_password)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise ServerStartError(
                f"OVSEG_TLS_KEY: {key} is not the key of the certificate {cert}"
            ) from None
        raise ServerStartError(
            f"OVSEG_TLS_CERT, OVSEG_TLS_KEY: {cert} and {key} are not a PEM certificate and its "
            f"key ({error.reason or error})"
        ) from None
    except _EncryptedKey:
        raise ServerStartError(
            f"OVSEG_TLS_KEY: {key} is encrypted; nobody is there to type its pass phrase at a start"
        ) from None


def exposure_warnings(settings: Settings, part: Literal["all", "triton", "gateway"]) -> list[str]:
    """A line for each thing that is open to whoever reaches the machine.

    Warnings, not refusals: in a container the address must be 0.0.0.0, and who may reach it is
    decided where its port is published, or by a proxy in front.
    """
    lines = []
    if part != "triton" and not _is_loopback(settings.host):
        if not settings.token_hashes:
            lines.append(
                f"warning: the gateway listens on {settings.host} and asks for no token: whoever "
                f"reaches port {settings.port} may use it (`ovseg token`, OVSEG_TOKEN_HASHES)"
            )
        elif settings.tls_cert is None:
            lines.append(
                f"warning: the gateway listens on {settings.host} without TLS: tokens and images "
                "can be read on the way, unless a proxy encrypts (OVSEG_TLS_CERT, OVSEG_TLS_KEY)"
            )
    if part != "gateway" and not _is_loopback(settings.triton_host):
        lines.append(
            f"warning: Triton listens on {settings.triton_host} and knows no tokens: whoever "
            f"reaches its ports may run inference (OVSEG_TRITON_HOST)"
        )
    return lines


class _EncryptedKey(Exception):
    """The key's file asks for a pass phrase."""


def _no_password() -> str:
    raise _EncryptedKey


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
