"""What %pyproject_... macros do, in the words of PEP 517 and for pure Python only: no scripts, no data files."""

import contextlib
import importlib
import re
import sys
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any


def build_system() -> dict[str, Any]:
    """Of pyproject.toml; what PEP 517 says where there is none."""
    path = Path("pyproject.toml")
    found = tomllib.loads(path.read_text()).get("build-system", {}) if path.exists() else {}
    return {"requires": ["setuptools >= 40.8"], "build-backend": "setuptools.build_meta:__legacy__"} | found


def backend() -> Any:
    module, _, name = build_system()["build-backend"].partition(":")
    sys.path.insert(0, "")
    found = importlib.import_module(module)
    return getattr(found, name) if name else found


def requires() -> None:
    """Requirements as RPM's; the backend's own in the round after it was installed."""
    wanted = list(build_system()["requires"])
    try:
        with contextlib.redirect_stdout(sys.stderr):  # stdout is what rpmbuild reads
            wanted += backend().get_requires_for_build_wheel()
    except ModuleNotFoundError as error:
        print(f"not yet installed: {error.name}", file=sys.stderr)
    for requirement in wanted:
        found = re.fullmatch(r"([A-Za-z0-9._-]+)\s*(?:>=\s*([0-9.]+))?", requirement.strip())
        if found is None:
            sys.exit(f"a requirement that can't be said in RPM's words here: {requirement}")
        rpm = f"python3dist({re.sub('[-_.]+', '-', found[1]).lower()})"
        print(f"{rpm} >= {found[2]}" if found[2] else rpm)


def wheel(wheels: str) -> None:
    Path(wheels).mkdir(exist_ok=True)
    backend().build_wheel(wheels)


def the_wheel(wheels: str) -> zipfile.ZipFile:
    (path,) = Path(wheels).glob("*.whl")
    return zipfile.ZipFile(path)


def install(wheels: str, sitelib: str) -> None:
    the_wheel(wheels).extractall(sitelib)


def top_level(wheels: str) -> list[str]:
    return sorted({name.partition("/")[0] for name in the_wheel(wheels).namelist()})


def files(wheels: str, sitelib: str) -> None:
    for name in top_level(wheels):
        print(f"{sitelib}/{name}")


def check(wheels: str, sitelib: str) -> None:
    sys.path.insert(0, sitelib)
    sys.dont_write_bytecode = True
    modules = [name.removesuffix(".py") for name in top_level(wheels) if not name.endswith(".dist-info")]
    for module in modules:
        importlib.import_module(module)
    print(f"imported {', '.join(modules)}")


if __name__ == "__main__":
    commands: dict[str, Callable[..., None]] = {
        "requires": requires, "wheel": wheel, "install": install, "files": files, "check": check,
    }  # fmt: skip
    commands[sys.argv[1]](*sys.argv[2:])
