"""Models are loaded, and loaded again, while callers ask over both protocols: nobody notices."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from loadtest.steady_load import SteadyLoad
from ovseg.manifest import MANIFEST_FILE_NAME, ModelManifest
from tests.server.crashing import PATIENCE_S, Site, copy_bundled_model, lost, running_site

DEFAULT, OTHER = "sam_mini", "another"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("reload")
    models = copy_bundled_model(folder / "models")
    (copy_bundled_model(folder / "more") / DEFAULT).rename(models / OTHER)
    manifest = ModelManifest.load(models / OTHER).model_copy(update={"name": OTHER})
    (models / OTHER / MANIFEST_FILE_NAME).write_text(manifest.model_dump_json(), "utf-8")
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
