"""Builds the Python package: setuptools, with what it cannot read from pyproject.toml.

The extension is the core and its host for Python, linked with cJSON of the system, which pkg-config finds, or with the
static libraries below OA_STATIC_LIBRARIES, as the addon is (see needs.js). Of xxHash only the header is used.

One wheel fits every CPython from 3.9 on. A free-threaded one has no stable ABI yet: it gets an extension of its own.
"""

import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import sysconfig

from setuptools.build_meta import *  # noqa: F403  the hooks that pip calls
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext
from setuptools.command.egg_info import egg_info

ROOT = pathlib.Path(__file__).parents[2]
OLDEST = (3, 9)
IS_FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))

RELEASE = json.loads((ROOT / "package.json").read_text())["version"]
# 0.2.0-beta.1 is 0.2.0b1 here.
VERSION = re.sub(r"-(alpha|beta|rc)\.?", lambda match: {"alpha": "a", "beta": "b", "rc": "rc"}[match[1]], RELEASE)

SOURCES = [
    *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "src" / "core").rglob("*.c")),
    "src/host/base64.c",
    "src/host/clock.c",
    "src/host/pages.c",
    "src/host/snapshot.c",
    "src/host/transfer.c",
    *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "src" / "host" / "python").glob("*.c")),
    *(
        sorted(str(path.relative_to(ROOT)) for path in (ROOT / "src" / "host" / "spool").glob("*.c"))
        if sys.platform == "linux"
        else []
    ),
]
MACROS = [("_GNU_SOURCE", None), ("OA_WITHOUT_UV", None), ("OA_VERSION", f'"{RELEASE}"')]

# For each library: the packages that have it, where the message below names them.
PACKAGES = "apt-get install gcc pkg-config libcjson-dev libxxhash-dev, or brew install pkgconf cjson xxhash"


def pkg_config(*arguments):
    program = os.environ.get("PKG_CONFIG", "pkg-config")
    try:
        return shlex.split(subprocess.check_output([program, *arguments], text=True, stderr=subprocess.PIPE))
    except (OSError, subprocess.CalledProcessError) as error:
        reason = (getattr(error, "stderr", None) or str(error)).strip()
        raise SystemExit(
            f"optimizely-amplitude: cJSON and xxHash are needed to build it ({reason}).\n{PACKAGES}"
        ) from error


def library_flags():
    """The flags to compile and to link with."""
    prefix = os.environ.get("OA_STATIC_LIBRARIES")
    if prefix:
        archive = str(pathlib.Path(prefix, "lib", "libcjson.a"))
        return [f"-I{prefix}/include"], [archive, "-Wl,--exclude-libs,ALL", "-Wl,--gc-sections"]
    return pkg_config("--cflags", "libcjson >= 1.7", "libxxhash >= 0.8"), pkg_config("--libs", "libcjson")


class BuildExtension(build_ext):
    def finalize_options(self):
        super().finalize_options()
        compile_flags, link_flags = library_flags()
        (extension,) = self.extensions
        extension.sources = SOURCES
        self.force = True  # what is there may be of another processor, or linked with another cJSON
        # A source distribution contains the sources of the extension, and what it depends on.
        headers = (str(path.relative_to(ROOT)) for path in (ROOT / "src").rglob("*.h"))
        extension.depends = [*headers, "package.json", "CHANGELOG.md", "src/build/python_backend.py"]
        extension.include_dirs = ["src/core"]
        extension.define_macros = list(MACROS)
        if os.environ.get("OA_HEAP_ONLY"):  # for sanitizers
            extension.define_macros.append(("OA_HEAP_ONLY", None))
        if not IS_FREE_THREADED:
            extension.py_limited_api = True
            extension.define_macros.append(("Py_LIMITED_API", "0x%02x%02x0000" % OLDEST))
        extension.extra_compile_args = ["-std=c11", "-fvisibility=hidden", "-Wall", "-Wextra", *compile_flags]
        extension.extra_link_args = list(link_flags)
        if os.environ.get("OA_WERROR"):
            extension.extra_compile_args.append("-Werror")
        if sys.platform == "linux":
            # Our symbols are bound to our code; a symbol that is missing fails the import, not a request.
            extension.extra_link_args += ["-pthread", "-Wl,-Bsymbolic", "-Wl,-z,now", "-Wl,-s"]


class BuildWheel(bdist_wheel):
    """OA_PLATFORM names the platform that a wheel of a release is for."""

    def finalize_options(self):
        self.plat_name = os.environ.get("OA_PLATFORM") or self.plat_name
        if not IS_FREE_THREADED:
            self.py_limited_api = "cp%d%d" % OLDEST
        super().finalize_options()


class EggInfo(egg_info):
    """Its folder is among what is built, and not in the sources. Links of the page also work on PyPI."""

    def initialize_options(self):
        super().initialize_options()
        (ROOT / "build").mkdir(exist_ok=True)
        self.egg_base = "build"

    def finalize_options(self):
        super().finalize_options()
        metadata = self.distribution.metadata
        folder = f"{metadata.project_urls['Homepage']}/blob/v{RELEASE}/docs/"
        metadata.long_description = re.sub(r"\]\((?!https?:|#)", f"]({folder}", metadata.long_description)
