"""Models whose fields are described by the text below each."""

import ast
import inspect
from collections.abc import Mapping
from functools import cache
from itertools import pairwise
from textwrap import dedent
from typing import Any

from pydantic import BaseModel, GetJsonSchemaHandler
from pydantic_core import CoreSchema


class Described(BaseModel):
    """A model whose JSON Schema describes a field by the string below it, unless the field has a description.

    The strings are read from the source when somebody asks for them. ``use_attribute_docstrings`` of pydantic reads
    them as each class is made, which was a tenth of the time that ``icws run`` needed to start. Models that FastAPI
    takes for the parameters of a query still need that, since it reads their fields only.
    """

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """The schema that pydantic makes, with the descriptions."""
        found = handler(schema)
        properties = handler.resolve_ref_schema(found).get("properties", {})
        for name, field in cls.model_fields.items():
            text = None if field.description else docstrings(cls).get(name)
            if text and name in properties:
                properties[name]["description"] = text
        return found


def description_of(model: type[BaseModel], name: str) -> str | None:
    """What a field of a model means, or None where that is not written."""
    return model.model_fields[name].description or docstrings(model).get(name)


@cache
def docstrings(model: type[BaseModel]) -> Mapping[str, str]:
    """The strings below the fields of a model, by name. A field that a base class has, and this one does not annotate
    again, is described there. Without the source there are none.
    """
    texts: dict[str, str] = {}
    for base in reversed(model.__mro__):
        own = _strings_in(base) if issubclass(base, BaseModel) and base is not BaseModel else {}
        texts = {name: text for name, text in texts.items() if name not in inspect.get_annotations(base)} | own
    return texts


def _strings_in(model: type[BaseModel]) -> dict[str, str]:
    """Of the fields that this class itself annotates."""
    try:
        source = inspect.getsource(model)
    except (OSError, TypeError):  # made without a file, as in an interactive interpreter
        return {}
    body = [node for definition in ast.parse(dedent(source)).body for node in getattr(definition, "body", ())]
    return {
        field.target.id: inspect.cleandoc(text.value.value)
        for field, text in pairwise(body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    }
