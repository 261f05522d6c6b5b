"""The real service with TLS and tokens: what gets in, and what its logs do not hold."""

from __future__ import annotations

import base64
import io
import os
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import tritonclient.grpc as triton
from ovseg_client import Client, ConnectionFailedError
from PIL import Image
from tritonclient.utils import InferenceServerException

from ovseg.checkpoints.paddlex import install_paddlex_model
from ovseg.private_folder import private_folder
from ovseg.server.service import Service
from ovseg.settings import EXAMPLE_PHOTO
from ovseg.tokens import new_token, token_hash_entry
from tests.server.exposed import Certificate, file_server, make_certificate
from tests.shared_service import shared_service

STANDIN_BOX_MODEL = Path(__file__).parents[1] / "contract/data/standin_models/SAM-H_box"
PATH = "/open-vocabulary-segmentation"
BOX = [[150, 12, 300, 150]]
TOKEN = new_token()
ENTRY = token_hash_entry("camera", TOKEN)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def service(
    tmp_path_factory: pytest.TempPathFactory, certificate: Certificate
) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("models")
    install_paddlex_model([STANDIN_BOX_MODEL], folder, "SAM-H_box")
    settings = {
        "OVSEG_MODEL_DIR": str(folder),
        "OVSEG_MODEL": "SAM-H_box",
        "OVSEG_TLS_CERT": str(certificate.cert_file),
        "OVSEG_TLS_KEY": str(certificate.key_file),
        "OVSEG_TOKEN_HASHES": ENTRY,
        "OVSEG_URL_ALLOW_PRIVATE": "true",
        "OVSEG_LOG_LEVEL": "debug",
        "OVSEG_TRITON_OPEN_PROTOCOLS": "shared-memory",
    }
    with shared_service(settings) as running:
        yield running


@pytest.fixture(scope="module")
def http(service: Service, certificate: Certificate) -> Iterator[httpx.Client]:
    trusted = ssl.create_default_context(cafile=certificate.ca_file)
    with httpx.Client(
        base_url=service.base_url, verify=trusted, timeout=60, trust_env=False
    ) as client:
        yield client


def test_it_prints_https_addresses(service: Service) -> None:
    printed = service.output_file.read_text()
    assert service.base_url.startswith("https://")
    assert f"REST     {service.base_url}{PATH}" in printed
    assert "http://127.0.0.1:" + service.base_url.rpartition(":")[2] not in printed


def test_the_client_trusts_the_given_authority_and_no_other(
    service: Service, certificate: Certificate, tmp_path: Path
) -> None:
    with Client(service.base_url, token=TOKEN, ca_file=certificate.ca_file) as client:
        assert len(client.predict(EXAMPLE_PHOTO, boxes=BOX).rles) == 1
        assert client.is_ready()
    other = make_certificate(tmp_path)
    with (
        Client(service.base_url, token=TOKEN, ca_file=other.ca_file) as client,
        pytest.raises(ConnectionFailedError, match="CERTIFICATE_VERIFY_FAILED"),
    ):
        client.predict(EXAMPLE_PHOTO, boxes=BOX)
    with pytest.raises(ValueError, match="no certificates"):
        Client(service.base_url, ca_file=certificate.key_file)


def test_plain_http_gets_nothing(service: Service) -> None:
    with pytest.raises(httpx.TransportError):
        httpx.get(service.base_url.replace("https", "http") + "/health", trust_env=False)


def test_ovseg_predict_finds_the_server_by_its_settings(
    service: Service, certificate: Certificate
) -> None:
    found = subprocess.run(
        [
            *(sys.executable, "-m", "ovseg", "predict", str(EXAMPLE_PHOTO)),
            *("--box=150,12,300,150", f"--ca-file={certificate.ca_file}"),
        ],
        env={
            **os.environ,
            "OVSEG_PORT": service.base_url.rpartition(":")[2],
            "OVSEG_TLS_CERT": str(certificate.cert_file),
            "OVSEG_TOKEN": TOKEN,
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert found.returncode == 0, found.stderr
    assert TOKEN not in found.stdout + found.stderr


def test_it_does_not_say_what_server_it_is(http: httpx.Client) -> None:
    assert "server" not in http.get("/health").headers


def test_no_secret_and_no_image_is_in_a_log(service: Service, http: httpx.Client) -> None:
    image = EXAMPLE_PHOTO.read_bytes()
    broken = b"\xff\xd8 no picture at all: Qy7#unlikely " + bytes(range(256))
    password = "p4ssw0rd-of-a-url"
    bearer = {"Authorization": f"Bearer {TOKEN}"}

    def post(log_id: str, content: str, headers: dict[str, str] = bearer) -> int:
        body = {"logId": log_id, "image": content, "promptType": "box", "prompt": BOX}
        return http.post(PATH, json=body, headers=headers).status_code

    described = io.BytesIO()
    Image.new("RGB", (64, 48)).save(described, "TIFF", description="Qy8#unlikely")

    with file_server(image) as address:
        url = f"http://{address}"
        statuses = {
            "good": post("log-good", base64.b64encode(image).decode()),
            "url": post("log-url", f"{url}/image?key={password}"),
            "described": post("log-tiff", base64.b64encode(described.getvalue()).decode()),
            "url with password": post("log-userinfo", f"http://user:{password}@{address}/image"),
            "dead url": post("log-dead-url", f"{url}/nothing?key={password}"),
            "no image": post("log-broken", base64.b64encode(broken).decode()),
            "no base64": post("log-no-base64", base64.b64encode(image).decode() + "!"),
            "unknown token": post("log-unknown", "", {"Authorization": f"Bearer {TOKEN}x"}),
        }
    assert statuses == {
        "good": 200,
        "url": 200,
        "described": 200,
        "url with password": 422,
        "dead url": 422,
        "no image": 422,
        "no base64": 422,
        "unknown token": 401,
    }

    gateway_log = service.output_file.read_bytes()
    triton_log = triton_log_of(service).read_bytes()
    # They are the right files, and so talkative that a leak would show.
    for log_id in (
        b"log-good",
        b"log-url",
        b"log-userinfo",
        b"log-dead-url",
        b"log-broken",
        b"log-no-base64",
    ):
        assert log_id in gateway_log
    assert b"successfully loaded 'open_vocabulary_segmentation'" in triton_log
    chunk = len(image) // 2 // 3 * 3
    secrets = {
        "token": TOKEN.encode(),
        "hash": ENTRY.partition(":")[2].encode(),
        "password": password.encode(),
        "admin secret": (private_folder("admin") / service.grpc_address.rpartition(":")[2])
        .read_text()
        .encode(),
        "image": image[chunk : chunk + 24],
        "image, escaped": repr(image[chunk : chunk + 24])[2:-1].encode(),
        "image, base64": base64.b64encode(image[chunk : chunk + 24]),
        "what an image says": b"Qy8#unlikely",
        "no image": b"Qy7#unlikely",
        "no image, base64": base64.b64encode(broken)[40:64],
    }
    for name, secret in secrets.items():
        assert secret not in gateway_log, name
        assert secret not in triton_log, name


def test_a_setting_opens_chosen_protocols_and_no_others(service: Service) -> None:
    with triton.InferenceServerClient(service.grpc_address) as client:
        assert len(client.get_system_shared_memory_status().regions) == 0
        with pytest.raises(InferenceServerException, match="restricted"):
            client.get_model_repository_index()


def test_libraries_log_warnings_only_whatever_the_level() -> None:
    script = (
        "import logging\n"
        "from ovseg.logs import configure_logging\n"
        "configure_logging('debug', 'text')\n"
        "logging.getLogger('httpx').info('GET http://user:password@host')\n"
        "logging.getLogger('PIL.TiffImagePlugin').debug('ImageDescription')\n"
        "logging.getLogger('httpx').warning('a warning')\n"
        "logging.getLogger('ovseg_gateway.access').debug('our own')\n"
    )
    written = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stderr
    assert "password" not in written and "ImageDescription" not in written
    assert "a warning" in written and "our own" in written


def triton_log_of(service: Service) -> Path:
    """Where the service's tritonserver writes."""
    port = b"--grpc-port=" + service.grpc_address.rpartition(":")[2].encode()
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if port in file.read_bytes():
                return (file.parent / "fd" / "1").readlink()
        except OSError:
            continue
    raise AssertionError("no such tritonserver")
