"""Every setting of the deployment, read from environment variables with the prefix `OVSEG_`.

One class for all processes (supervisor, gateway, Triton's stages), so that a variable means the
same thing everywhere; `ovseg config` prints them with their present values.
"""

from __future__ import annotations

import os
import re
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
    SettingsConfigDict,
)

from ovseg.tokens import parse_token_hashes

PROJECT_ROOT = Path(__file__).resolve().parent.parent
BUNDLED_MODEL = "sam_mini"
EXAMPLE_PHOTO = PROJECT_ROOT / "examples" / "photo.jpg"

ADMIN_PROTOCOLS = ("shared-memory", "model-repository", "trace", "logging")
"""Triton's protocols that change the server instead of asking it something."""

IMAGE_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
"""What an image file may be, in Pillow's names."""

Port = int
EngineName = Literal["auto", "openvino", "paddle", "onnxruntime", "tensorrt"]
PrecisionName = Literal["auto", "fp32", "bf16", "int8", "fp16"]


_CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def available_cpus() -> int:
    """Number of CPUs this process may use: taskset, cpusets and a container's limit count."""
    return max(1, min(len(os.sched_getaffinity(0)), _cpus_of_quota(_CPU_QUOTA)))


def _cpus_of_quota(file: Path) -> int:
    """Whole CPUs that a cgroup's time is worth (cgroup v2); a large number without a limit.

    More threads than that would be stopped together for the rest of each period.
    """
    try:
        quota, period = file.read_text("ascii").split()
        return int(quota) // int(period)
    except (OSError, ValueError):  # No cgroup v2, or "max".
        return 1 << 16


def useful_concurrency() -> int:
    """Requests that gain from being in Triton together: one engine alone keeps two CPUs busy.

    More than its four stages in a row have no use for.
    """
    return min(max(available_cpus() // 2, 1), 4)


class Settings(BaseSettings):
    """All settings; each field `x_y` is the environment variable `OVSEG_X_Y`.

    What no variable says may be in a file `ovseg_x_y` of the folder `secrets_dir`.
    """

    model_config = SettingsConfigDict(env_prefix="OVSEG_", frozen=True, extra="ignore")

    # --- addresses -------------------------------------------------------------------------
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

    # --- strangers -------------------------------------------------------------------------
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

    # --- model and engine ------------------------------------------------------------------
    model: str = Field(BUNDLED_MODEL, description="Installed model to serve (see `ovseg models`).")
    models: str = Field("", description="Further models to serve beside it, separated by commas.")
    model_dir: Path = Field(
        PROJECT_ROOT / "models", description="Where `ovseg import` installs models."
    )
    model_repository: Path = Field(
        PROJECT_ROOT / "model_repository", description="Triton's model repository."
    )
    engine: EngineName = Field(
        "auto",
        description="Inference engine of the encoder and the prompt decoder; `auto`: the one that "
        "the model was imported with (`--engine`), else the fastest that its self-check accepted. "
        "tensorrt is for the encoder, with a plan of `ovseg build-engine`; the prompt decoder then "
        "runs as with `auto`.",
    )
    precision: PrecisionName = Field(
        "auto",
        description="What the encoder's matrix products compute in; `auto`: the precision that the "
        "model was imported with (`--precision`), else the fastest of fp32 and bf16 that its "
        "self-check accepted. int8 must have been accepted too. fp16 is that of a TensorRT plan.",
    )
    decoder_precision: PrecisionName = Field(
        "auto", description="The same for the prompt decoder, whose self-check is stricter."
    )
    threads: PositiveInt = Field(
        default_factory=available_cpus, description="CPU threads of one inference engine."
    )
    cache_size_bytes: int = Field(
        256 * 1024 * 1024,
        ge=0,
        description="Triton's response cache for image embeddings (4 MB an image); 0: no cache.",
    )

    # --- limits ----------------------------------------------------------------------------
    max_image_pixels: PositiveInt = Field(
        89_478_485, description="Largest image, width x height; checked before decoding."
    )
    max_image_side: PositiveInt = Field(
        65_535, description="Largest width and largest height; checked before decoding."
    )
    image_formats: str = Field(
        ",".join(IMAGE_FORMATS), description="Accepted image formats, separated by commas."
    )
    max_image_bytes: PositiveInt = Field(
        32 * 1024 * 1024, description="Largest encoded image file, sent or fetched."
    )
    max_body_bytes: PositiveInt = Field(
        48 * 1024 * 1024,
        description="Largest HTTP request body, inflated where compressed (base64 adds a third).",
    )
    max_head_bytes: PositiveInt = Field(
        64 * 1024, description="Largest head of an HTTP request: its first line and its headers."
    )
    max_prompts: PositiveInt = Field(1024, description="Most prompt rows in one request.")
    max_coordinate: PositiveFloat = Field(
        1e6, description="Largest absolute coordinate of a prompt, in pixels."
    )
    request_timeout_s: PositiveFloat = Field(
        60.0,
        description="After which a request is answered with 504; its header X-Request-Timeout "
        "(seconds) may ask for less.",
    )
    body_timeout_s: PositiveFloat = Field(
        30.0, description="Longest time in which a request's body has to arrive; then 408."
    )
    start_timeout_s: PositiveFloat = Field(
        120.0, description="Longest time `ovseg serve` waits until Triton is ready."
    )
    drain_delay_s: float = Field(
        0.0,
        ge=0,
        description="On SIGTERM, how long requests are still taken while /health/ready is 503 "
        "already, so that a load balancer can notice.",
    )
    drain_timeout_s: PositiveFloat = Field(
        30.0, description="On SIGTERM, longest time to wait for requests under way."
    )

    # --- processes and crashes -------------------------------------------------------------
    gateway_workers: PositiveInt = Field(1, description="Gateway processes.")
    recovery_wait_s: float = Field(
        10.0,
        ge=0,
        description="Longest time a request waits while a crashed process is replaced; 0: a "
        "request that a crash ended is answered with 503 at once.",
    )
    restart_limit: PositiveInt = Field(
        5, description="Failed starts of a process after which `ovseg serve` gives up, if they …"
    )
    restart_window_s: PositiveFloat = Field(
        300.0, description="… happen within this time (crashes after a good start do not count)."
    )
    restart_backoff_s: PositiveFloat = Field(
        0.5,
        description="Pause before the second restart in a row, doubled for each further one (the "
        "first has none); half of it is random.",
    )
    restart_backoff_limit_s: PositiveFloat = Field(
        10.0, description="Longest pause before a restart."
    )
    hang_timeout_s: PositiveFloat = Field(
        120.0,
        description="A stage that works on one request for longer, or a tritonserver that does not "
        "answer for so long, is killed and restarted.",
    )
    max_dead_stages: PositiveInt = Field(
        16,
        description="Triton never frees a stage that died amid a request (up to 21 MB and 36 "
        "threads each); when it keeps so many, the next crash of one starts it anew.",
    )

    # --- overload (of each gateway worker) ---------------------------------------------------
    max_running: PositiveInt = Field(
        default_factory=useful_concurrency,
        description="Requests that are sent to Triton at the same time; others wait.",
    )
    max_waiting: int = Field(
        default_factory=lambda: 8 * available_cpus(),
        ge=0,
        description="Most requests that wait for their turn; further ones are answered with 503.",
    )
    max_wait_s: PositiveFloat = Field(
        10.0, description="Longest expected wait for a turn at which a request is let in."
    )
    overload_wait_turns: PositiveFloat = Field(
        0.25,
        description="The same while far more is asked for than can be answered, as a share of the "
        "average turn: short, so that those who are answered are answered fast.",
    )
    keep_alive_s: PositiveInt = Field(
        75,
        description="How long the gateway keeps an idle connection; longer than clients and "
        "proxies do, or a request meets a connection that is just being closed.",
    )
    max_open_requests: PositiveInt = Field(
        256, description="Segmentation requests under way, from a request's head to its answer."
    )
    max_held_bytes: PositiveInt = Field(
        128 * 1024 * 1024, description="Bytes of bodies held at once (never less than one body)."
    )
    image_store_bytes: int = Field(
        64 * 1024 * 1024,
        ge=0,
        description="Bytes of image files that each gateway process keeps, so that a caller can "
        "send an answer's `imageId` instead of the image; 0: none.",
    )
    mask_store_bytes: int = Field(
        64 * 1024 * 1024,
        ge=0,
        description="Bytes of low-res masks (256 KB each) that each gateway process keeps for "
        "requests with `keepMasks`; 0: none.",
    )
    everything_points_per_side: PositiveInt = Field(
        32,
        description="Side of the grid of points for `promptType` everything, when a request does "
        "not say.",
    )
    everything_max_points: PositiveInt = Field(
        8192, description="Most points of such a request, in all of its crops together."
    )
    everything_points_per_batch: PositiveInt = Field(
        16,
        description="Most points that it has decoded at once: other requests come in between.",
    )
    everything_max_waiting: int = Field(
        4, ge=0, description="Such requests that wait while another one runs; further ones get 503."
    )
    everything_timeout_s: PositiveFloat = Field(
        300.0, description="`OVSEG_REQUEST_TIMEOUT_S` for them."
    )
    rate_limit: str = Field(
        "",
        description="Segmentation requests of one caller (token, else address), such as "
        "`10/second` or `5/second;100/minute`; empty: no limit.",
    )

    # --- image URLs ------------------------------------------------------------------------
    url_timeout_s: PositiveFloat = Field(10.0, description="Longest time to fetch an image URL.")
    url_max_redirects: int = Field(3, ge=0, description="Redirects followed for an image URL.")
    url_allow_private: bool = Field(
        False, description="Fetch image URLs on loopback and private networks too."
    )
    url_allow_networks: str = Field(
        "",
        description="Networks off the public internet that image URLs may be fetched from, such as "
        "10.1.0.0/16, separated by commas.",
    )

    # --- picture ---------------------------------------------------------------------------
    visualize: bool = Field(True, description="Draw the picture when a request does not say.")
    overlay_jpeg_quality: int = Field(
        85, ge=1, le=100, description="JPEG quality of the picture with masks."
    )

    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="What goes to the log on standard error."
    )
    log_format: Literal["text", "json"] = Field(
        "text", description="Lines for people, or one JSON object a line."
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then variables, then files of `secrets_dir`, if there is such a folder."""
        default = cls.model_fields["secrets_dir"].default
        folder = Path(os.environ.get("OVSEG_SECRETS_DIR", default))
        if not folder.is_dir():
            return init_settings, env_settings
        return init_settings, env_settings, SecretsSettingsSource(settings_cls, folder)

    @field_validator("model_dir", "model_repository")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @field_validator("rate_limit")
    @classmethod
    def _rates(cls, value: str) -> str:
        if value:
            import limits  # It takes as long to import as all else here, in every stage.

            limits.parse_many(value)
        return value

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
        for origin in _listed(value):
            if not re.fullmatch(r"\*|https?://[^/\s*]+", origin):
                raise ValueError(f"{origin!r} is no origin such as https://example.org:8443")
        return value

    @field_validator("image_formats")
    @classmethod
    def _formats(cls, value: str) -> str:
        names = _listed(value.upper())
        if not names or not set(names) <= set(IMAGE_FORMATS):
            raise ValueError(f"one or more of {', '.join(IMAGE_FORMATS)}")
        return ",".join(names)

    @field_validator("url_allow_networks")
    @classmethod
    def _networks(cls, value: str) -> str:
        for network in _listed(value):
            ip_network(network)
        return value

    @field_validator("triton_open_protocols")
    @classmethod
    def _protocols(cls, value: str) -> str:
        for protocol in _listed(value):
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
        return _listed(self.cors_origins)

    @property
    def closed_protocols(self) -> tuple[str, ...]:
        """Triton's protocols that only the user who started it may use."""
        opened = _listed(self.triton_open_protocols)
        return tuple(protocol for protocol in ADMIN_PROTOCOLS if protocol not in opened)

    @property
    def gateway_url(self) -> str:
        """Where the gateway answers, e.g. https://127.0.0.1:8080."""
        scheme = "https" if self.tls_cert else "http"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}:{self.port}"

    @property
    def accepted_image_formats(self) -> tuple[str, ...]:
        """The names in `image_formats`."""
        return _listed(self.image_formats)

    @property
    def allowed_url_networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """The networks in `url_allow_networks`."""
        return tuple(ip_network(network) for network in _listed(self.url_allow_networks))

    @property
    def further_models(self) -> tuple[str, ...]:
        """The names in `models` that are not the default model."""
        return tuple(name for name in _listed(self.models) if name != self.model)

    @property
    def model_folder(self) -> Path:
        """Folder of the model to serve."""
        return self.model_dir / self.model

    @property
    def triton_grpc_address(self) -> str:
        """host:port of Triton's gRPC endpoint, as tritonclient takes it."""
        return self.grpc_url or f"{self.triton_host}:{self.grpc_port}"


def _listed(text: str) -> tuple[str, ...]:
    """`a, b,,a` -> ("a", "b")."""
    names = (name.strip() for name in text.split(","))
    return tuple(dict.fromkeys(name for name in names if name))


@lru_cache
def get_settings() -> Settings:
    """The process's settings, read once.

    Raises:
        pydantic.ValidationError: a variable has an invalid value.
    """
    return Settings()
