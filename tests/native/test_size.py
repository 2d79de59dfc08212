"""How large the wheel is that users download: the native module is most of it."""

import zlib
from pathlib import Path

import appliance
import appliance._native as native

WHEEL = 8 << 20


def test_the_package_with_its_native_module_stays_below_the_size_of_a_wheel() -> None:
    """Compressed as in a wheel, which is a ZIP."""
    files = [path for path in Path(appliance.__path__[0]).rglob("*") if path.is_file() and path.suffix != ".pyc"]
    packed = sum(len(zlib.compress(path.read_bytes(), 6)) for path in files)
    assert packed < WHEEL


def test_the_native_module_is_one_for_all_versions_of_python() -> None:
    assert Path(native.__file__).name.endswith((".abi3.so", ".pyd"))
