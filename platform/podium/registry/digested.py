"""Documents under a digest that stays theirs while their class grows."""

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer

from podium.ids import digest_json


class Digested(BaseModel):
    """A frozen document, named by its digest.

    A field that holds its default is left out where the document is written, unless its name is in `always`. So what
    was recorded before the class had that field is written, read back and named as it was. Of a class whose fields
    had defaults from the start, those are in `always`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    always: ClassVar[frozenset[str]] = frozenset()

    @property
    def digest(self) -> str:
        """The name of this document: SHA-256 of its canonical JSON."""
        return digest_json(self.model_dump(mode="json"))

    @model_serializer(mode="wrap")
    def _write(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        document: dict[str, Any] = write(self)
        for name, field in type(self).model_fields.items():
            default = field.get_default(call_default_factory=True, validated_data={})
            if name not in self.always and not field.is_required() and getattr(self, name) == default:
                document.pop(name, None)
        return document
