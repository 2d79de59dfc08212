"""The string below a field describes it, as with pydantic's own ``use_attribute_docstrings``."""

from collections.abc import Iterator
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, ConfigDict, Field

from appliance.config.schema import Log
from appliance.control.models import Session
from appliance.described import Described, description_of, docstrings


class Read(BaseModel):
    """Pydantic reads the strings of these classes."""

    model_config = ConfigDict(use_attribute_docstrings=True)


def family(base: type[BaseModel]) -> list[type[BaseModel]]:
    """The same classes below either base."""

    class Part(base):  # type: ignore[misc, valid-type]
        inner: int
        """Of another model."""

    class First(base):  # type: ignore[misc, valid-type]
        """Of the class, and of no field."""

        plain: int
        bare: str = ""
        """Below one that
        has several
            lines."""

        apart: float = 0.0

        """Has an empty line above it."""
        own: Annotated[int, Field(description="of the field")] = 0
        """Not this."""
        part: Part
        """Refers to a model."""
        parts: list[Part] = []  # noqa: RUF012 - as pydantic copies it
        undescribed: Part

        def method(self) -> int:
            """Of a method."""
            local: int = 1
            """Of a variable."""
            return local

        class Inner(Part):
            plain: int
            """Of a class in it."""

    class Second(First):
        bare: str = "x"
        apart: float = 1.0
        """Said anew."""
        more: int
        """New here."""

    class Third(Second):
        pass

    return [Part, First, First.Inner, Second, Third]


PAIRS = list(zip(family(Described), family(Read), strict=True))


@pytest.mark.parametrize(("ours", "theirs"), PAIRS, ids=[ours.__name__ for ours, _ in PAIRS])
def test_the_schema_is_that_of_pydantic(ours: type[BaseModel], theirs: type[BaseModel]) -> None:
    def schema(model: type[BaseModel]) -> dict[str, Any]:
        found = model.model_json_schema()
        return found | {"description": ""}  # without a docstring that of the base is the class's

    assert schema(ours) == schema(theirs)
    for name, field in theirs.model_fields.items():
        assert description_of(ours, name) == field.description


def test_without_the_source_there_are_none() -> None:
    names: dict[str, Any] = {"Described": Described}
    exec("class Made(Described):\n    number: int\n    '''A number.'''", names)  # noqa: S102 - as a console does
    assert docstrings(names["Made"]) == {}
    assert "description" not in names["Made"].model_json_schema()["properties"]["number"]


def test_a_field_of_the_configuration_and_one_of_the_api() -> None:
    assert description_of(Log, "level") == "Lowest level that is logged. ``debug`` logs every frame."
    described = Session.model_json_schema()["properties"]["node"]["description"]
    assert described == "The node of the cluster that has it; None where there is no cluster."


def test_a_start_reads_no_source_but_of_a_query() -> None:
    def below(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
        for each in model.__subclasses__():
            yield from (each, *below(each))

    early = {model.__name__ for model in below(BaseModel) if model.model_config.get("use_attribute_docstrings")}
    of_tests = {model.__name__ for model in (Read, *below(Read))}
    assert early - of_tests == {"_Conditions", "SessionFilter", "SessionQuery"}
