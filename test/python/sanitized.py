"""Builds the extension with ASan and UBSan, and runs the tests that use all of it: python test/python/sanitized.py.

With PYTHONMALLOC=malloc, so that the sanitizer sees each object of Python. Leaks are not looked for: CPython's own
would be found; test_memory.py measures ours.
"""

from __future__ import annotations

import os
import pathlib
import shlex
import shutil
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor

ROOT = pathlib.Path(__file__).parents[2]
OUT = ROOT / "build" / "python" / "sanitized"
FLAGS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer", "-O1", "-g", "-fPIC"]
WARNINGS = [
    "-Wall",
    "-Wextra",
    "-Wshadow",
    "-Wconversion",
    "-Wno-sign-conversion",
    "-Wstrict-prototypes",
    "-Wvla",
    "-Werror",
]
TESTS = [
    "test_dispatcher.py",
    "test_parity.py",
    "test_aws_lambda.py",
    "test_store.py",
    "test_audiences.py",
    "test_processes.py",
    "test_spool.py",
]


def build() -> None:
    sys.path.insert(0, str(ROOT / "src" / "build"))
    import python_backend

    compile_flags, link_flags = python_backend.library_flags()
    compiler = os.environ.get("CC", "cc")
    shutil.rmtree(OUT, ignore_errors=True)
    package = OUT / "optimizely_amplitude"
    shutil.copytree(ROOT / "lib" / "python" / "optimizely_amplitude", package)
    includes = ["-Isrc/core", f"-I{sysconfig.get_path('include')}", *compile_flags]
    defines = [
        *(f"-D{name}" if value is None else f"-D{name}={value}" for name, value in python_backend.MACROS),
        "-DOA_HEAP_ONLY",
        "-DPy_LIMITED_API=0x03090000",
    ]

    def compile_one(source: str) -> str:
        target = str(OUT / (source.replace("/", "_") + ".o"))
        subprocess.run(
            [compiler, "-std=c11", *FLAGS, *WARNINGS, *defines, *includes, "-c", source, "-o", target],
            check=True,
            cwd=ROOT,
        )
        return target

    with ThreadPoolExecutor(2) as pool:
        objects = list(pool.map(compile_one, python_backend.SOURCES))
    library = str(package / "_native.abi3.so")
    subprocess.run([compiler, "-shared", *FLAGS, "-o", library, *objects, *link_flags, "-pthread"], check=True)


def main() -> int:
    build()
    compiler = os.environ.get("CC", "cc")
    libraries = [
        subprocess.check_output([compiler, f"-print-file-name={name}"], text=True).strip()
        for name in ("libasan.so", "libubsan.so")
    ]
    environment = {
        **os.environ,
        "LD_PRELOAD": " ".join(libraries),
        "PYTHONMALLOC": "malloc",
        "PYTHONPATH": str(OUT),
        "ASAN_OPTIONS": "detect_leaks=0",
        "UBSAN_OPTIONS": "print_stacktrace=1",
    }
    files = [str(ROOT / "test" / "python" / name) for name in TESTS]
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *files]
    print(shlex.join(command))
    code = "import optimizely_amplitude; print(optimizely_amplitude.__file__)"
    used = subprocess.check_output([sys.executable, "-c", code], text=True, env=environment).strip()
    if not used.startswith(str(OUT)):
        raise SystemExit(f"the tests would use {used}")
    return subprocess.run(command, env=environment).returncode


if __name__ == "__main__":
    sys.exit(main())
