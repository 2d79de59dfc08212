"""Types of single values of ``gateway.yaml``, with their validation."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field, Strict
from pydantic.fields import FieldInfo

from appliance.config.fields.address import (
    UNIX,
    check_address,
    check_host_name,
    check_network,
    check_origin,
    check_url,
    overlap,
    parse_address,
)
from appliance.config.text.document import key_text
from appliance.errors import GatewayError
from appliance.ic.principal import Principal
from appliance.private_files import CREDENTIAL, ENVIRONMENT, SCHEMES

Mode = Literal["enforce", "report", "off"]
"""Whether a message that fails verification is refused, only counted and logged, or not verified at all."""
LimitMode = Literal["enforce", "shadow", "off"]
"""Whether excess is refused, only counted, or not limited at all."""
LimitScope = Literal["node", "cluster"]
"""Whether each node counts for itself, or all nodes of a cluster together."""


NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"
"""What a name looks like."""


class Misplaced(ValueError):
    """A mistake in a part of a value; ``at`` is the path to that part."""

    def __init__(self, at: tuple[str | int, ...], problem: str) -> None:
        super().__init__(problem)
        self.at = at


def known_version(value: object) -> object:
    """The version of the format, which is 1. Raises ValueError."""
    if value != 1 or isinstance(value, bool):
        raise ValueError(f"{value!r} is no version of this format that is known here; write 1")
    return value


def check_separate(addresses: Mapping[tuple[str | int, ...], str]) -> None:
    """Raises Misplaced where one process cannot listen at two of these addresses, by the path of the key of each."""
    before: list[tuple[tuple[str | int, ...], str]] = []
    for path, text in addresses.items():
        for taken, other in before:
            # Port 0 is another port each time, but a reload could not match two listeners with the same text.
            is_same = other == text and path[:2] == taken[:2] == ("gateway", "listeners")
            if is_same or overlap(parse_address(other), parse_address(text)):
                advice = "give each a port or path of its own"
                raise Misplaced(path, f"the address {text} is taken by {key_text(taken)}; {advice}")
        before.append((path, text))


def _principal(value: object) -> Principal:
    if isinstance(value, Principal):
        return value
    if not isinstance(value, str):
        raise ValueError("a canister id is text, e.g. bkyz2-fmaaa-aaaaa-qaaaq-cai; put it in quotes")
    try:
        return Principal.from_text(value)
    except GatewayError as error:
        raise ValueError(f"{error}; copy the whole id, e.g. bkyz2-fmaaa-aaaaa-qaaaq-cai") from None


def _text(value: object) -> object:
    """The value, unless it is a number: a port alone is the usual mistake. Raises ValueError."""
    if isinstance(value, int) and not isinstance(value, bool):
        raise ValueError(f"{value} is not an address; write host:port, e.g. 0.0.0.0:{value}")
    return value


def _key_source(value: Path) -> Path:
    """The value, if what it names has a name that can be. Raises ValueError."""
    for scheme, pattern in ((CREDENTIAL, NAME), (ENVIRONMENT, r"^[A-Za-z_][A-Za-z0-9_]*$")):
        if str(value).startswith(scheme) and not re.match(pattern, str(value).removeprefix(scheme)):
            raise ValueError(f"{str(value).removeprefix(scheme)!r} is not a name; write {scheme}NAME")
    return value


def one_or_several(value: object) -> object:
    """A list with one element, if the value is not a list."""
    return [value] if isinstance(value, str) else value


def none_or_several(value: object) -> object:
    """As `one_or_several`, and an empty list for null."""
    return [] if value is None else one_or_several(value)


def digits_as_text(value: object) -> object:
    """Octal digits as text: YAML has read them as a decimal number."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _one_kind(generations: list[str]) -> list[str]:
    if "v0" in generations and len(generations) > 1:
        raise ValueError("a canister of v0 answers polls in a format of its own: it serves clients of v0 alone")
    return sorted(set(generations))


def distinct(values: list[str]) -> list[str]:
    """Without repetitions, which spellings of the same value may have become."""
    return list(dict.fromkeys(values))


def unordered(values: list[str]) -> list[str]:
    """A sorted list: the order of its elements has no meaning, so another order must not be a change."""
    return sorted(set(values))


MAX_WORKERS = 64
"""As many journals of one name there are at most (``journal.files.MAX_PROCESSES``)."""


def _workers(value: str) -> str:
    if value == "auto" or (value.isdecimal() and 1 <= int(value) <= MAX_WORKERS):
        return value
    raise ValueError(f"{value!r} is no number of processes; write 1 to {MAX_WORKERS}, or auto")


@dataclass(frozen=True)
class Spelled:
    """What a text looks like, for the JSON Schema: the value itself is checked by a function, with better sentences."""

    pattern: str


GenerationName = Literal["v0", "v1", "v2"]
"""A wire generation."""
Generations = Annotated[
    list[GenerationName], BeforeValidator(one_or_several), AfterValidator(_one_kind), Field(min_length=1)
]
CanisterId = Annotated[Principal, BeforeValidator(_principal)]
Endpoint = Annotated[str, AfterValidator(check_url)]
Origin = Annotated[str, AfterValidator(check_origin)]
Proxy = Annotated[str, AfterValidator(check_network)]
HostName = Annotated[
    str, AfterValidator(check_host_name), Spelled(r"^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?\.?$")
]
Workers = Annotated[
    str, BeforeValidator(digits_as_text), AfterValidator(_workers), Spelled(r"^(auto|[1-9]|[1-5][0-9]|6[0-4])$")
]
"""Processes that serve clients."""
RootKey = Annotated[str, Field(pattern=r"^(mainnet|fetch|[0-9a-fA-F]{266})$"), AfterValidator(str.lower)]


@dataclass(frozen=True)
class InFolder:
    """Marks values that contain a path, with or without a prefix. A relative path starts at the folder of its file."""

    prefix: str = ""
    schemes: tuple[str, ...] = ()
    """What values begin with that are no paths."""

    def absolute(self, value: Any, folder: Path) -> Any:
        """The value with its path made absolute; unchanged if it has none."""
        if isinstance(value, list):
            return [self.absolute(each, folder) for each in value]
        if str(value).startswith(self.schemes):
            return value
        if isinstance(value, Path):
            return folder / value
        if isinstance(value, str) and value.startswith(self.prefix) and value != self.prefix:
            return f"{self.prefix}{folder / value.removeprefix(self.prefix)}"
        return value


File = Annotated[Path, Strict(False), InFolder()]
"""A path."""
Key = Annotated[Path, Strict(False), AfterValidator(_key_source), InFolder(schemes=SCHEMES)]
"""Where a private key comes from."""
Address = Annotated[str, BeforeValidator(_text), AfterValidator(check_address), InFolder(UNIX)]
"""Where to listen."""


def in_folder(field: FieldInfo | None) -> InFolder | None:
    """The mark of a field whose value contains a path, optional or not."""
    if field is None:
        return None
    inner = (fact for part in get_args(field.annotation) for fact in getattr(part, "__metadata__", ()))
    return next((fact for fact in (*field.metadata, *inner) if isinstance(fact, InFolder)), None)
