"""The notebooks of ``examples``, run cell by cell with the real programs; no Jupyter needed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT
from test_real import System, system

__all__ = ["system"]

EXAMPLES = ROOT / "examples"


def cells(notebook: Path) -> list[str]:
    """The code cells of a notebook, in order."""
    found = json.loads(notebook.read_text())["cells"]
    return ["".join(cell["source"]) for cell in found if cell["cell_type"] == "code"]


@pytest.mark.parametrize("notebook", sorted(EXAMPLES.glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_runs(system: System, notebook: Path) -> None:
    for package in ("pyarrow.flight", "pandas", "polars", "scipy"):
        pytest.importorskip(package)
    sources = cells(notebook)
    assert len(sources) >= 5
    script = system.folder / "notebook.py"
    # Each cell in the same module, and named in a traceback.
    script.write_text(
        "\n".join(f"exec(compile({source!r}, {f'{notebook.name}, code cell {at}'!r}, 'exec'))"
                  for at, source in enumerate(sources, 1))
    )  # fmt: skip
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "src"),
        "CATCHMENT_AGGREGATOR": f"https://{system.aggregator}",
        "CATCHMENT_IDENTITY": "pki/operator/ada",
        "CATCHMENT_GATEWAY": system.gateway,
        "CATCHMENT_DEVICE": "pki/site/berlin/device/press-17",
        "CATCHMENT_EXAMPLES": str(EXAMPLES),
    }
    done = subprocess.run(
        [sys.executable, "-W", "error", script.name],
        cwd=system.folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


def test_notebooks_are_committed_without_outputs() -> None:
    for notebook in EXAMPLES.glob("*.ipynb"):
        for cell in json.loads(notebook.read_text())["cells"]:
            assert not cell.get("outputs"), f"{notebook.name}: clear the outputs, which hold times of a run"
