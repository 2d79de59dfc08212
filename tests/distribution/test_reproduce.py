import pytest

from distribution import sums
from distribution.reproduce import differences


@pytest.mark.parametrize(
    ("second", "names"),
    [
        ("1  a\n2  b\n", []),
        ("2  b\n1  a\n", []),
        ("1  a\n3  b\n", ["b"]),
        ("1  a\n2  c\n", ["b", "c"]),
        ("", ["a", "b"]),
    ],
)
def test_what_differs_or_is_missing_is_named(second: str, names: list[str]) -> None:
    assert differences("1  a\n2  b\n", second) == names


def test_sums_are_those_of_sha256sum(tmp_path) -> None:
    (tmp_path / "b").write_bytes(b"")
    (tmp_path / "a").write_bytes(b"abc")
    text = sums.write(tmp_path)
    assert text == (tmp_path / "SHA256SUMS").read_text() == sums.write(tmp_path)
    assert text.splitlines() == [
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  a",
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  b",
    ]
