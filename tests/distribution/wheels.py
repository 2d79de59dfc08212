"""Wheels to put together an environment from."""

import zipfile
from pathlib import Path

from distribution.source import TOP


def wheel(folder: Path, name: str, files: dict[str, str], *, licence: str = "MIT") -> Path:
    """A wheel with these files and the metadata that every wheel has."""
    path = folder / f"{name}-1.0-py3-none-any.whl"
    information = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\nLicense: {licence}\n"
    with zipfile.ZipFile(path, "w") as archive:
        for place, text in {**files, f"{name}-1.0.dist-info/METADATA": information}.items():
            archive.writestr(place, text)
    return path


def gateway_wheel(folder: Path) -> Path:
    """The gateway of this checkout, as a wheel."""
    path = wheel(folder, "icws", {})
    with zipfile.ZipFile(path, "a") as archive:
        for package in ("appliance", "icws"):
            for file in sorted((TOP / package).rglob("*")):
                if file.is_file() and "__pycache__" not in file.parts:
                    archive.write(file, file.relative_to(TOP))
    return path
