"""Builds the extension with sanitizers, and runs tests with it: python test/python/sanitized.py [address] [thread]

address: ASan and UBSan, and the tests that use all of it. With PYTHONMALLOC=malloc, so that the sanitizer sees each
object of Python. Leaks are not looked for: CPython's own would be found; test_memory.py measures ours.

thread: ThreadSanitizer, and the tests with threads. The GIL is a lock as others are, so what it protects is no race; a
free-threaded Python that is built --with-thread-sanitizer finds more.
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
from typing import Dict, List, NamedTuple, Sequence

ROOT = pathlib.Path(__file__).parents[2]
OUT = ROOT / "build" / "python" / "sanitized"
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


class Sanitizer(NamedTuple):
    flags: List[str]
    libraries: List[str]
    environment: Dict[str, str]
    tests: List[str]
    prefix: Sequence[str] = ()


SANITIZERS = {
    "address": Sanitizer(
        ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"],
        ["libasan.so", "libubsan.so"],
        {"PYTHONMALLOC": "malloc", "ASAN_OPTIONS": "detect_leaks=0", "UBSAN_OPTIONS": "print_stacktrace=1"},
        [
            "test_dispatcher.py",
            "test_parity.py",
            "test_aws_lambda.py",
            "test_store.py",
            "test_audiences.py",
            "test_processes.py",
            "test_spool.py",
            "test_threads.py",
        ],
    ),
    "thread": Sanitizer(
        ["-fsanitize=thread"],
        ["libtsan.so"],
        # A child that is forked while there are threads is what we do.
        {"TSAN_OPTIONS": "halt_on_error=1 die_after_fork=0 exitcode=66"},
        ["test_threads.py", "test_processes.py::test_forks_while_threads_decide_and_send"],
        # That of older compilers cannot work with much address space randomization.
        ["setarch", "-R"],
    ),
}


def build(sanitizer: Sanitizer) -> None:
    sys.path.insert(0, str(ROOT / "src" / "build"))
    import python_backend

    flags = [*sanitizer.flags, "-fno-omit-frame-pointer", "-O1", "-g", "-fPIC"]
    compile_flags, link_flags = python_backend.library_flags()
    compiler = os.environ.get("CC", "cc")
    shutil.rmtree(OUT, ignore_errors=True)
    package = OUT / "optimizely_amplitude"
    shutil.copytree(ROOT / "lib" / "python" / "optimizely_amplitude", package)
    includes = ["-Isrc/core", f"-I{sysconfig.get_path('include')}", *compile_flags]
    defines = [
        *(f"-D{name}" if value is None else f"-D{name}={value}" for name, value in python_backend.MACROS),
        "-DOA_HEAP_ONLY",
        *([] if python_backend.IS_FREE_THREADED else ["-DPy_LIMITED_API=0x03090000"]),
    ]

    def compile_one(source: str) -> str:
        target = str(OUT / (source.replace("/", "_") + ".o"))
        subprocess.run(
            [compiler, "-std=c11", *flags, *WARNINGS, *defines, *includes, "-c", source, "-o", target],
            check=True,
            cwd=ROOT,
        )
        return target

    with ThreadPoolExecutor(2) as pool:
        objects = list(pool.map(compile_one, python_backend.SOURCES))
    library = str(package / "_native.so")
    subprocess.run([compiler, "-shared", *flags, "-o", library, *objects, *link_flags, "-pthread"], check=True)


def main(names: Sequence[str]) -> int:
    return max(run(SANITIZERS[name]) for name in names or SANITIZERS)


def run(sanitizer: Sanitizer) -> int:
    build(sanitizer)
    compiler = os.environ.get("CC", "cc")
    libraries = [
        subprocess.check_output([compiler, f"-print-file-name={name}"], text=True).strip()
        for name in sanitizer.libraries
    ]
    environment = {**os.environ, **sanitizer.environment}
    environment["PYTHONPATH"] = os.pathsep.join([str(OUT), *filter(None, [os.environ.get("PYTHONPATH")])])
    python = [*sanitizer.prefix, "env", f"LD_PRELOAD={' '.join(libraries)}", sys.executable]
    files = [str(ROOT / "test" / "python" / name) for name in sanitizer.tests]
    command = [*python, "-m", "pytest", "--capture=sys", "-p", "no:cacheprovider", *files]  # reports are not of Python
    print(shlex.join(command))
    code = "import optimizely_amplitude; print(optimizely_amplitude._native.__file__)"
    used = subprocess.check_output([*python, "-c", code], text=True, env=environment).strip()
    if not used.startswith(str(OUT)):
        raise SystemExit(f"the tests would use {used}")
    return subprocess.run(command, env=environment).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
