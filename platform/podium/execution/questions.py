"""What stages ask their supervisor over the slot's channel, and the answers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from podium.dag import values
from podium.db.engine import Database
from podium.errors import Conflict, InternalError, PodiumError
from podium.execution import attempt_store, outputs, queries, wire
from podium.execution.channel import Message
from podium.execution.entities import Assignment
from podium.execution.reads import read_by

Service = Callable[[Assignment, Mapping[str, Any]], Any]


@dataclass(frozen=True)
class Answers:
    """Answers the questions of the attempts that one worker holds."""

    database: Database
    services: Mapping[str, Service]
    worker_id: str

    def answer(self, assignment: Assignment, question: Message) -> Message:
        """Return the answer to a stage's question; every failure is an answer."""
        try:
            return {"type": "answer", "value": values.encode(self._value(assignment, question))}
        except PodiumError as error:
            return {"type": "answer", "error": {"type": type(error).__name__, "message": str(error)}}
        except Exception as error:  # noqa: BLE001 - the stage waits: what went wrong is its answer
            message = f"The service {question['service']} failed: {type(error).__name__}: {error}."
            return {"type": "answer", "error": {"type": "InternalError", "message": message}}

    def _value(self, assignment: Assignment, question: Message) -> Any:
        name, foreign = question["service"], _foreign_types(question["arguments"])
        if foreign:  # decoding imports a type's module, and user code is imported in slots only
            raise InternalError(f"The service {name} was handed a {foreign[0]}, which is no type of Podium's.")
        arguments = values.decode(question["arguments"])
        service = {"artifact": self._artifact, "read_before": self._read_before, **self.services}.get(name)
        if service is None:
            raise InternalError(f"There is no service {name!r}.")
        with self.database.write() as connection:
            held = attempt_store.holds(connection, self.worker_id, assignment.attempt_id)
        if not held:
            raise Conflict(f"The attempt {assignment.attempt_id} is no longer held by this worker.")
        return service(assignment, arguments)

    def _artifact(self, _: Assignment, arguments: Mapping[str, Any]) -> Any:
        with self.database.read() as connection:
            return wire.artifact_to_document(queries.artifact_of(connection, arguments["digest"]))

    def _read_before(self, assignment: Assignment, arguments: Mapping[str, Any]) -> list[str]:
        plan = assignment.plan
        read = read_by(plan, assignment.node, assignment.map_index)[arguments["parameter"]]
        with self.database.read() as connection:
            return outputs.read_before(connection, assignment.run.run_id, plan, read)


def _foreign_types(document: Any) -> list[str]:
    return sorted(name for name in values.named_types(document) if not name.startswith("podium."))
