"""Models are loaded, and loaded again, while callers ask over both protocols: nobody notices."""

from __future__ import annotations

import base64
import os
import re
import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest
from msgspec.structs import replace

from loadtest.steady_load import SteadyLoad
from ovseg.manifest import ModelManifest
from ovseg.settings import EXAMPLE_PHOTO
from tests.bundled_model import copy_bundled_model
from tests.server.crashing import PATIENCE_S, Site, lost, running_site

DEFAULT, OTHER = "sam_mini", "another"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("reload")
    models = copy_bundled_model(folder / "models")
    (copy_bundled_model(folder / "more") / DEFAULT).rename(models / OTHER)
    manifest = replace(ModelManifest.load(models / OTHER), name=OTHER)
    manifest.save(models / OTHER)
    with running_site(folder) as running:
        yield running


def load_model(site: Site, name: str) -> None:
    port = site.service.grpc_address.rpartition(":")[2]
    models = site.log.parent / "models"
    done = subprocess.run(
        [sys.executable, "-m", "ovseg", "load", name],
        env={**os.environ, "OVSEG_GRPC_PORT": port, "OVSEG_MODEL_DIR": str(models)},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", [DEFAULT, OTHER])
def test_loading_a_model_under_load_loses_no_request(site: Site, name: str) -> None:
    suffix = "" if name == DEFAULT else f".{name}"
    kind = f"stub sam_encoder{suffix}"
    before = [process.pid for process in site.processes(kind)]
    with SteadyLoad(site.addresses, callers=2, grpc_callers=1) as load:
        load.wait_for_answers(2)
        load_model(site, name)
        load.wait_for_answers(2)
    (now,) = site.processes(kind)

    assert now.pid not in before
    assert lost(load.exchanges) == []
    assert lost(load.grpc_exchanges) == []
    assert load.wrong == []
    assert {look.status for look in load.looks} == {200}
    assert "killed" not in site.log.read_text("utf-8")


@pytest.mark.parametrize("name", [DEFAULT, OTHER])
def test_a_model_imported_anew_under_its_name_gets_embeddings_of_its_own(
    site: Site, name: str
) -> None:
    load_model(site, name)
    assert [embedding_came_from(site, name) for _ in range(2)][1] == "hit"

    weights = [path for path in (site.log.parent / "models" / name).rglob("*") if path.is_file()]
    for path in weights:
        os.utime(path)  # As if it had just been written.
    load_model(site, name)

    assert [embedding_came_from(site, name) for _ in range(2)] == ["miss", "hit"]


def embedding_came_from(site: Site, model: str) -> str:
    """ "hit" or "miss", of the cache, for a prompt on the example photo."""
    answer = httpx.post(
        f"{site.service.base_url}/open-vocabulary-segmentation",
        json={
            "image": base64.b64encode(EXAMPLE_PHOTO.read_bytes()).decode(),
            "promptType": "point",
            "prompt": [[220, 100]],
            "visualize": False,
            "model": model,
        },
        timeout=PATIENCE_S,
        trust_env=False,
    )
    assert answer.status_code == 200, answer.text
    found = re.search(r"cache;desc=(\w+)", answer.headers["server-timing"])
    assert found
    return found[1]
