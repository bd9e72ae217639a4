"""The examples of test/examples/python, as they stand, each in a process of its own."""

from __future__ import annotations

import json
import os
import pathlib
import re
import subprocess
import sys
from typing import Any

import pytest

from conftest import API_KEY, ROOT, Amplitude

EXAMPLES = ROOT / "test" / "examples" / "python"

CALLERS = {
    "fastapi_app": """
from fastapi.testclient import TestClient
with TestClient(module.app) as client:
    answer = client.get("/checkout/user_1").json()
""",
    "flask_app": 'answer = module.app.test_client().get("/checkout/user_1").json',
    "django_app": """
import json
from django.test import Client
answer = json.loads(Client().get("/checkout/user_1").content)
""",
    "lambda_function": 'answer = module.handler({"user_id": "user_1"}, None)',
}


def run(code: str, amplitude: Amplitude) -> str:
    environment = {**os.environ, "AMPLITUDE_API_KEY": API_KEY, "AMPLITUDE_SERVER_URL": amplitude.url}
    environment.pop("OPTIMIZELY_SDK_KEY", None)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=EXAMPLES, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", CALLERS)
def test_an_example_delivers_its_decisions(name: str, amplitude: Amplitude) -> None:
    out = run(f"import json, {name} as module\n{CALLERS[name]}\nprint(json.dumps(answer))", amplitude)
    (event,) = amplitude.events()
    assert event["user_id"] == "user_1" and event["event_properties"]["flag_key"] == "checkout_flow"
    assert json.loads(out.splitlines()[-1]) == {"checkout": event["event_properties"]["variation_key"]}


def test_each_example_is_run() -> None:
    helper = "optimizely_client"
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {*CALLERS, helper}


def blocks() -> Any:
    page = (ROOT / "docs" / "python.md").read_text()
    return re.findall(r"^```python\n(.*?)^```$", page, re.M | re.S)


@pytest.mark.parametrize("block", blocks(), ids=lambda block: block.splitlines()[0][:50])
def test_the_blocks_of_the_docs_run(block: str, amplitude: Amplitude, tmp_path: pathlib.Path) -> None:
    """With the stand-in, and a client of a datafile, in place of what an application has."""
    prelude = f"""
import os, sys
sys.path[:0] = [{str(ROOT / "test" / "python")!r}, {str(EXAMPLES)!r}]
import optimizely.optimizely
from conftest import make_client
import optimizely_amplitude.options as options
options.ORIGINS["US"] = {amplitude.url.rsplit("/2/", 1)[0]!r}
real = optimizely.optimizely.Optimizely
optimizely.optimizely.Optimizely = lambda sdk_key: make_client()
os.environ.update(OPTIMIZELY_SDK_KEY="sdk-key", ID_SECRET="secret", SPOOL_DIRECTORY={str(tmp_path / "spool")!r})
"""
    prelude = prelude.replace(
        "real = optimizely.optimizely.Optimizely\noptimizely.optimizely.Optimizely = lambda sdk_key: make_client()",
        "made = make_client()\noptimizely.optimizely.Optimizely = lambda sdk_key: made",
    )
    run(prelude + block, amplitude)
    assert amplitude.events(None), "it delivers something"
