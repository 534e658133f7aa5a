"""YAML documents whose faults can be named by file, line and field."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from migrate.errors import DocumentProblems, UsageProblem

FieldPath = tuple[str | int, ...]
Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True)
class Document:
    """A parsed YAML file and the line of every field in it (1-based)."""

    path: Path
    content: Any
    lines: Mapping[FieldPath, int]

    def where(self, field: FieldPath) -> str:
        """`file:line: field` of a field, or of the nearest parent that stands in the file."""
        for length in range(len(field), -1, -1):
            line = self.lines.get(field[:length])
            if line is not None:
                dotted = ".".join(str(part) for part in field) or "document"
                return f"{self.path}:{line}: {dotted}"
        return str(self.path)

    def problem(self, field: FieldPath, what: str, *, expected: str = "", hint: str = "") -> UsageProblem:
        return UsageProblem(what, where=self.where(field), expected=expected, hint=hint)


MANIFEST_HINT = "name the manifest, or make one: cloudexit init DIR"


def read_yaml(path: Path, hint: str = MANIFEST_HINT) -> Document:
    """Reads one YAML document; `hint` says what to do when it is missing.

    Raises UsageProblem: missing, unreadable, not YAML, a key that stands twice, or an anchor that contains itself.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as fault:
        raise UsageProblem("no such file", where=str(path), hint=hint) from fault
    except (OSError, UnicodeDecodeError) as fault:
        raise UsageProblem(f"cannot be read: {fault}", where=str(path), expected="a UTF-8 YAML file") from fault
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        lines: dict[FieldPath, int] = {(): 1}
        if root is not None:
            _note_lines(root, (), lines, path, ())
        content = yaml.safe_load(text)
    except RecursionError as fault:
        raise UsageProblem("nested too deeply", where=str(path), expected="a YAML document of a few levels") from fault
    except yaml.YAMLError as fault:
        mark = getattr(fault, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise UsageProblem(
            f"not valid YAML: {getattr(fault, 'problem', fault)}", where=where, expected="one YAML document"
        ) from fault
    return Document(path, content, lines)


def _note_lines(
    node: yaml.Node, field: FieldPath, lines: dict[FieldPath, int], path: Path, above: tuple[int, ...]
) -> None:
    if id(node) in above:
        raise UsageProblem(
            "this anchor contains itself",
            where=f"{path}:{lines.get(field, 1)}: {'.'.join(map(str, field)) or 'document'}",
            expected="an alias to something that does not contain the alias",
        )
    above = (*above, id(node))
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inner = (*field, key.value)
            if inner in lines:
                raise UsageProblem(
                    "this key stands twice",
                    where=f"{path}:{key.start_mark.line + 1}: {'.'.join(map(str, inner))}",
                    expected=f"one entry; the first is on line {lines[inner]}",
                )
            lines[inner] = key.start_mark.line + 1
            _note_lines(value, inner, lines, path, above)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            lines[(*field, index)] = value.start_mark.line + 1
            _note_lines(value, (*field, index), lines, path, above)


def validate(document: Document, model: type[Model]) -> Model:
    """The document as a model; raises DocumentProblems with every fault in it, each by file, line and field."""
    try:
        return model.model_validate(document.content if document.content is not None else {})
    except ValidationError as faults:
        raise DocumentProblems([_problem(document, dict(fault)) for fault in faults.errors()]) from faults


def _problem(document: Document, fault: Mapping[str, Any]) -> UsageProblem:
    field = _field_in_file(document, fault["loc"])
    what, expected = fault["msg"], ""
    match fault["type"]:
        case "extra_forbidden":
            what, expected = "unknown key", "one of the keys of docs/reference/manifest.md"
        case "missing":
            what, expected = "required, and not there", "a value"
        case kind if kind != "value_error":
            expected, what = what, f"not as expected: {_shown(fault.get('input'))}"
        case _:
            what = what.removeprefix("Value error, ")
    return document.problem(field, what, expected=expected)


def _field_in_file(document: Document, location: Sequence[str | int]) -> FieldPath:
    """Pydantic adds tags of unions to the location; what does not stand in the file is left out, but for the last."""
    field: FieldPath = ()
    for part in location:
        if (*field, part) in document.lines or part == location[-1]:
            field = (*field, part)
    return field


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
