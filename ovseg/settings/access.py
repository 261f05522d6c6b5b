"""Where the gateway and Triton listen, and what strangers may do."""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import BaseModel, Field, field_validator

from ovseg.settings.comma_lists import listed
from ovseg.tokens import parse_token_hashes

ADMIN_PROTOCOLS = ("shared-memory", "model-repository", "trace", "logging")
"""Triton's protocols that change the server instead of asking it something."""

Port = int


class AccessSettings(BaseModel, frozen=True):
    """Addresses, tokens, TLS and origins."""

    host: str = Field("127.0.0.1", description="Address that the gateway listens on.")
    port: Port = Field(8080, ge=1, le=65535, description="Gateway (REST) port.")
    triton_host: str = Field(
        "127.0.0.1",
        description="Address that Triton listens on; it knows neither tokens nor TLS, so keep it "
        "on loopback or on a network that only the gateway is on.",
    )
    triton_http_port: Port = Field(8000, ge=1, le=65535, description="Triton's HTTP port.")
    grpc_port: Port = Field(8001, ge=1, le=65535, description="Triton's gRPC port.")
    metrics_port: Port = Field(8002, ge=1, le=65535, description="Triton's Prometheus port.")
    grpc_url: str | None = Field(
        None, description="Triton the gateway talks to; default: the one started beside it."
    )

    token_hashes: str = Field(
        "",
        repr=False,
        description="Hashes of the tokens that callers may use, `name:sha256hex` separated by "
        "commas; `ovseg token NAME` makes one. Empty: no token is asked for.",
    )
    secrets_dir: Path = Field(
        Path("/run/secrets"),
        description="Folder with settings as files, for those that are secret: what no variable "
        "says is read from e.g. ovseg_token_hashes there, where container engines mount secrets.",
    )
    tls_cert: Path | None = Field(
        None, description="PEM file with the gateway's certificate chain: it then speaks https."
    )
    tls_key: Path | None = Field(None, description="PEM file with the certificate's private key.")
    cors_origins: str = Field(
        "",
        description="Web origins whose pages may read answers, e.g. `https://example.org`, "
        "separated by commas; `*`: any. Cookies are never asked for.",
    )
    triton_open_protocols: str = Field(
        "",
        description="Of Triton's protocols shared-memory, model-repository, trace and logging, "
        "those that anybody who reaches its ports may use, separated by commas.",
    )

    @field_validator("tls_cert", "tls_key", mode="before")
    @classmethod
    def _named(cls, value: object) -> object:
        return value or None  # An empty variable names no file.

    @field_validator("token_hashes")
    @classmethod
    def _well_formed(cls, value: str) -> str:
        parse_token_hashes(value)
        return value

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, value: str) -> str:
        for origin in listed(value):
            if not re.fullmatch(r"\*|https?://[^/\s*]+", origin):
                raise ValueError(f"{origin!r} is no origin such as https://example.org:8443")
        return value

    @field_validator("triton_open_protocols")
    @classmethod
    def _protocols(cls, value: str) -> str:
        for protocol in listed(value):
            if protocol not in ADMIN_PROTOCOLS:
                raise ValueError(f"{protocol!r} is none of {', '.join(ADMIN_PROTOCOLS)}")
        return value

    @property
    def token_digests(self) -> dict[str, bytes]:
        """SHA-256 digest of each token by its name; empty: no token is asked for."""
        return parse_token_hashes(self.token_hashes)

    @property
    def cors_allow_list(self) -> tuple[str, ...]:
        """Origins whose pages may read answers."""
        return listed(self.cors_origins)

    @property
    def closed_protocols(self) -> tuple[str, ...]:
        """Triton's protocols that only the user who started it may use."""
        opened = listed(self.triton_open_protocols)
        return tuple(protocol for protocol in ADMIN_PROTOCOLS if protocol not in opened)

    @property
    def gateway_url(self) -> str:
        """Where the gateway answers, e.g. https://127.0.0.1:8080."""
        scheme = "https" if self.tls_cert else "http"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}:{self.port}"

    @property
    def triton_grpc_address(self) -> str:
        """host:port of Triton's gRPC endpoint, as tritonclient takes it."""
        return self.grpc_url or f"{self.triton_host}:{self.grpc_port}"
