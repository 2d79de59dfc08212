"""Encodes and decodes the application's messages: Python values and bytes."""

import os
import re
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from appliance.client.sessions.session import Generation
from appliance.client.settings import wrong
from appliance.crypto import CandidInterface, CandidTypes, decode_cbor, encode_cbor
from appliance.errors import CandidError, Malformed
from appliance.ic.principal import Principal

MessageType = str | os.PathLike[str]
"""A Candid type, the text of an interface with a service, or the file of an interface (``.did``)."""

CandidValue: TypeAlias = (
    "None | bool | int | float | str | bytes | Principal | list[CandidValue] | dict[str, CandidValue]"
)
"""A value of a message, where the application names no type of its own: ``connect[Chat](…)``. A reference to a function
is a pair of its principal and name."""

_SERVICE = re.compile(r"\bservice\b\s*\w*\s*:")

_FILE = re.compile(r"\s*([^\s{}]*[/\\][^\s{}]*|\S+\.did)\s*", re.IGNORECASE)


class Codec(Protocol):
    """The encoding of an application's values."""

    def encode(self, value: Any) -> bytes:
        """Raises CandidError or Malformed for a value that does not fit."""

    def decode(self, content: bytes) -> Any:
        """Raises CandidError or Malformed for content that is none."""


class RawCodec:
    """For applications that encode their messages themselves: values are bytes."""

    def encode(self, value: Any) -> bytes:
        """Raises CandidError for anything else."""
        if not isinstance(value, bytes):
            raise CandidError(f"a connection without a message_type sends bytes, not {type(value).__name__}")
        return value

    def decode(self, content: bytes) -> Any:
        """The same."""
        return content


class CandidCodec:
    """Values of one Candid type, as `CandidTypes` has them."""

    def __init__(self, types: CandidTypes) -> None:
        self._types = types

    def encode(self, value: Any) -> bytes:
        """Raises CandidError."""
        return self._types.encode(value)

    def decode(self, content: bytes) -> Any:
        """Raises CandidError."""
        return self._types.decode(content)[0]


class CborCodec:
    """Values of CBOR: None, bool, int, bytes, str, list and dict."""

    def encode(self, value: Any) -> bytes:
        """Raises Malformed."""
        try:
            return encode_cbor(value)
        except (TypeError, ValueError, OverflowError) as error:
            raise Malformed("value", str(error)) from error

    def decode(self, content: bytes) -> Any:
        """Raises Malformed."""
        return decode_cbor(content, what="message content")


def codec_for(generation: Generation, message_type: MessageType | None, type_name: str | None) -> Codec:
    """How the messages of an application are written: as CBOR in v0, else by its Candid type, or not at all.

    An interface says what the type is: the one named `type_name`, or what the second argument of its ``ws_message``
    is an ``opt`` of, which is where CDKs state it.

    Raises CandidError, TooLarge, OSError for a file that cannot be read, and ConfigError for arguments that do not
    belong together.
    """
    if generation == "v0":
        for argument, given in (("message_type", message_type), ("type_name", type_name)):
            if given is not None:
                raise wrong(argument, "it has no place in v0, where values are CBOR")
        return CborCodec()
    if message_type is None:
        if type_name is not None:
            raise wrong("type_name", "it names a type of an interface; give that as message_type")
        return RawCodec()
    if isinstance(message_type, str) and _FILE.fullmatch(message_type):
        raise CandidError(f"{message_type!r} looks like the name of a file; give pathlib.Path({message_type!r})")
    if isinstance(message_type, str) and type_name is None and not _SERVICE.search(message_type):
        return CandidCodec(_one_type(message_type))
    return CandidCodec(_type_of_interface(message_type, type_name))


def _one_type(text: str) -> CandidTypes:
    end = "\n)" if "//" in text else ")"  # it must not stand in a comment
    types = CandidTypes(f"({text}{end}")
    if len(types) != 1:
        raise CandidError(f"a message_type is one Candid type, these are {len(types)}")
    return types


def _type_of_interface(source: MessageType, type_name: str | None) -> CandidTypes:
    interface = CandidInterface(source) if isinstance(source, str) else _read_interface(Path(source))
    if type_name is not None:
        return interface.type(type_name)
    method = interface.methods.get("ws_message")
    if method is None:
        raise CandidError("the interface has no method ws_message; name the type of its messages with type_name")
    if len(method.arguments) < 2:
        raise CandidError(
            "ws_message has no second argument with the type of the messages; name it with type_name, "
            "or give no message_type and send bytes"
        )
    return method.arguments[1].without_opt()


def _read_interface(path: Path) -> CandidInterface:
    try:
        return CandidInterface(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise CandidError(f"{path}: it is not text in UTF-8") from error
    except CandidError as error:
        raise CandidError(f"{path}: {error.problem}") from error
