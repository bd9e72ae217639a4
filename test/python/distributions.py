"""Installs what is published as users do, and runs smoke.py with it: python test/python/distributions.py [PYTHON...]

The wheel of this processor on every CPython from 3.9 on that is there. A free-threaded one takes no such wheel; it, and
one other, build the source distribution. Of what they need only requests is fetched: as pure Python it fits them all.
The wheel for arm64 runs on Debian's Python for it under an emulator, where both can be had.
"""

from __future__ import annotations

import glob
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import zipfile
from typing import Dict, List, Optional, Sequence

ROOT = pathlib.Path(__file__).parents[2]
OUT = ROOT / "build" / "python" / "distributions"
PURE = OUT / "pure"
ARM64 = OUT / "arm64"
SMOKE = ROOT / "test" / "python" / "smoke.py"
DEBIAN_SOURCES = "/etc/apt/sources.list.d/debian.sources"
PROBE = """
import sys, sysconfig
if sys.version_info < (3, 9) or sys.implementation.name != "cpython":
    sys.exit(1)
print(sysconfig.get_config_var("VERSION"), int(bool(sysconfig.get_config_var("Py_GIL_DISABLED"))), sys.executable)
"""


def find_pythons(named: Sequence[str]) -> Dict[str, List[str]]:
    """Return one interpreter for each version, such as "3.12 0", with 1 for a free-threaded one."""
    folders = os.environ.get("PATH", "").split(os.pathsep)
    candidates = [*named, sys.executable]
    for folder in folders:
        candidates += sorted(glob.glob(os.path.join(folder, "python3*")))
    candidates += sorted(glob.glob(os.path.expanduser("~/.pyenv/versions/*/bin/python3")))
    found: Dict[str, List[str]] = {}
    for candidate in candidates:
        if candidate.endswith("config"):
            continue
        try:
            probe = subprocess.run([candidate, "-c", PROBE], capture_output=True, text=True, timeout=60)
        except OSError:
            continue
        if probe.returncode == 0:
            version, is_free, executable = probe.stdout.split(maxsplit=2)
            found.setdefault(f"{version} {is_free}", [executable.strip(), is_free])
    return found


def pip(python: str, *arguments: str, **environment: str) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--python", python, "install"]
    options = ["--no-index", "--no-deps", "--upgrade", "--root-user-action", "ignore"]
    subprocess.run([*command, *options, *arguments], check=True, cwd=OUT, env={**os.environ, **environment})


def smoke(python: Sequence[str], folder: pathlib.Path) -> None:
    """Nothing of the clone is on its path, as smoke.py is started from a copy."""
    subprocess.run(
        [*python, "-W", "ignore", str(OUT / "smoke.py")],
        check=True,
        cwd=OUT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(PURE)])},
        timeout=120,
    )


def fetch_pure() -> None:
    """What the package needs, and what its source distribution is built with."""
    if PURE.exists():
        return
    command = [sys.executable, "-m", "pip", "--quiet", "install", "--target", str(PURE), "--only-binary", ":all:"]
    any_python = ["--python-version", "3.9", "--implementation", "py", "--abi", "none", "--platform", "any"]
    subprocess.run([*command, *any_python, "requests", "setuptools>=77"], check=True)


def make_sdist() -> pathlib.Path:
    code = f"import python_backend; python_backend.build_sdist({str(OUT)!r})"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src" / "build")}
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
    return next(OUT.glob("*.tar.gz"))


def wheel_for(machine: str) -> pathlib.Path:
    wheels = list((ROOT / "build" / "wheels").glob(f"*-abi3-*_{machine}.whl"))
    if len(wheels) != 1:
        raise SystemExit(f"{len(wheels)} wheels for {machine} in build/wheels: run node src/release/wheel.js")
    return wheels[0]


def emulated_arm64() -> Optional[List[str]]:
    """Return the command of a Python for arm64 that runs here; None: it cannot be had."""
    emulator = shutil.which("qemu-aarch64-static")
    if platform.machine() != "x86_64" or emulator is None or not os.path.exists(DEBIAN_SOURCES):
        return None
    root = ARM64 / "root"
    if not root.exists():
        fetch_arm64(root)
    return [emulator, "-L", str(root), str(root / "usr" / "bin" / "python3")]


def fetch_arm64(root: pathlib.Path) -> None:
    """Unpack Debian's packages. Those of this machine, and what apt knows of them, stay as they are."""
    for name in ("lists", "archives"):
        (ARM64 / name / "partial").mkdir(parents=True, exist_ok=True)
    (ARM64 / "status").touch()
    settings = {
        "APT::Architecture": "arm64",
        "APT::Architectures::": "arm64",
        "APT::Sandbox::User": "root",  # no other may write into this folder
        "Acquire::Languages": "none",
        "Dir::State": ARM64,
        "Dir::State::status": ARM64 / "status",
        "Dir::Cache": ARM64,
        "Dir::Etc::sourcelist": DEBIAN_SOURCES,
        "Dir::Etc::sourceparts": "-",
    }
    apt = ["apt-get", "-qq", *(word for name, value in settings.items() for word in ("-o", f"{name}={value}"))]
    subprocess.run([*apt, "update"], check=True)
    packages = ["python3-minimal", "libpython3-stdlib", "libgcc-s1"]
    install = ["install", "--download-only", "--no-install-recommends", "--yes"]
    subprocess.run([*apt, *install, *packages], check=True, stdout=subprocess.DEVNULL)
    partial = ARM64 / "unpacked"
    for package in (ARM64 / "archives").glob("*.deb"):
        subprocess.run(["dpkg", "-x", str(package), str(partial)], check=True)
    partial.rename(root)


def main(named: Sequence[str]) -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    shutil.copy(SMOKE, OUT)
    for old in OUT.glob("*.tar.gz"):
        old.unlink()
    fetch_pure()
    wheel = wheel_for(platform.machine())
    sdist = make_sdist()
    pythons = find_pythons(named)
    for number, (python, is_free) in enumerate(pythons.values()):
        folder = OUT / f"installed-{number}"
        if is_free == "0":
            pip(python, "--target", str(folder), str(wheel))
            smoke([python], folder)
        if is_free == "1" or number == 0:
            arguments = ("--target", str(folder), "--no-build-isolation", str(sdist))
            pip(python, *arguments, PYTHONPATH=str(PURE))
            smoke([python], folder)
        shutil.rmtree(folder)
    arm64 = emulated_arm64()
    if arm64 is None:
        print("distributions: the wheel for arm64 is not run: that needs Debian on x86_64, with qemu-user-static")
    else:
        folder = OUT / "installed-arm64"
        with zipfile.ZipFile(wheel_for("aarch64")) as archive:
            archive.extractall(folder)
        smoke(arm64, folder)
        shutil.rmtree(folder)
    count = len(pythons)
    print(f"distributions: {count} versions of Python" if count > 1 else "distributions: there is one Python here")


if __name__ == "__main__":
    main(sys.argv[1:])
