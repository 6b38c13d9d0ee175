"""What all shapes of spec files have in common. Their docstrings are what editors show."""

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, field_validator

from pltfrms.specfile.shapes.units import wrong


class Shape(BaseModel):
    """Base: no unknown field, no silent conversion."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )
    stand_ins: ClassVar[dict[str, Any]] = {}
    """For required top fields that are missing or wrong, so that the rest can be checked."""


class SparseShape(Shape):
    """Base where to leave a field out means something: an empty one is a mistake."""

    @field_validator("*", mode="before")
    @classmethod
    def _said(cls, value: object) -> object:
        if value is None:
            raise wrong("must not be empty", "give it a value or leave it out")
        return value
