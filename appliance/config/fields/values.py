"""Types of single values of ``gateway.yaml``, with their validation."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field, Strict
from pydantic.fields import FieldInfo

from appliance.config.fields.address import UNIX, check_network, check_origin, check_url, parse_address
from appliance.errors import GatewayError
from appliance.ic.principal import Principal

Mode = Literal["enforce", "report", "off"]
"""Whether a message that fails verification is refused, only counted and logged, or not verified at all."""
LimitMode = Literal["enforce", "shadow", "off"]
"""Whether excess is refused, only counted, or not limited at all."""


class Misplaced(ValueError):
    """A mistake in a part of a value; ``at`` is the path to that part."""

    def __init__(self, at: tuple[str | int, ...], problem: str) -> None:
        super().__init__(problem)
        self.at = at


def _principal(value: object) -> Principal:
    if isinstance(value, Principal):
        return value
    if not isinstance(value, str):
        raise ValueError("a canister id is text, e.g. bkyz2-fmaaa-aaaaa-qaaaq-cai; put it in quotes")
    try:
        return Principal.from_text(value)
    except GatewayError as error:
        raise ValueError(str(error)) from None


def one_or_several(value: object) -> object:
    """A list with one element, if the value is not a list."""
    return [value] if isinstance(value, str) else value


def _address(value: str) -> str:
    parse_address(value)
    return value


def _one_kind(generations: list[str]) -> list[str]:
    if "v0" in generations and len(generations) > 1:
        raise ValueError("a canister of v0 answers polls in a format of its own: it serves clients of v0 alone")
    return sorted(set(generations))


def unordered(values: list[str]) -> list[str]:
    """A sorted list: the order of its elements has no meaning, so another order must not be a change."""
    return sorted(set(values))


GenerationName = Literal["v0", "v1", "v2"]
"""A wire generation."""
Generations = Annotated[
    list[GenerationName], BeforeValidator(one_or_several), AfterValidator(_one_kind), Field(min_length=1)
]
CanisterId = Annotated[Principal, BeforeValidator(_principal)]
Endpoint = Annotated[str, AfterValidator(check_url)]
Origin = Annotated[str, AfterValidator(check_origin)]
Proxy = Annotated[str, AfterValidator(check_network)]
HostName = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$")]


@dataclass(frozen=True)
class InFolder:
    """Marks values that contain a path, with or without a prefix. A relative path starts at the folder of its file."""

    prefix: str = ""

    def absolute(self, value: Any, folder: Path) -> Any:
        """The value with its path made absolute; unchanged if it has none."""
        if isinstance(value, Path):
            return folder / value
        if isinstance(value, str) and value.startswith(self.prefix) and value != self.prefix:
            return f"{self.prefix}{folder / value.removeprefix(self.prefix)}"
        return value


File = Annotated[Path, Strict(False), InFolder()]
"""A path."""
Address = Annotated[str, AfterValidator(_address), InFolder(UNIX)]
"""Where to listen."""


def in_folder(field: FieldInfo | None) -> InFolder | None:
    """The mark of a field whose value contains a path, optional or not."""
    if field is None:
        return None
    inner = (fact for part in get_args(field.annotation) for fact in getattr(part, "__metadata__", ()))
    return next((fact for fact in (*field.metadata, *inner) if isinstance(fact, InFolder)), None)
