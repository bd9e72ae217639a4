"""The client that the examples share: of OPTIMIZELY_SDK_KEY, or of the datafile beside them."""

import os
import pathlib

from optimizely import optimizely


def make_client() -> optimizely.Optimizely:
    sdk_key = os.environ.get("OPTIMIZELY_SDK_KEY")
    if sdk_key is not None:
        return optimizely.Optimizely(sdk_key=sdk_key)
    return optimizely.Optimizely(datafile=(pathlib.Path(__file__).parents[1] / "datafile.json").read_text())
