"""The reference pages that are generated: `python -m isosweep.reference docs` writes them, a test holds them to what
the code says.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

from .sweep.schema import (
    AXES,
    AugmentationSection,
    DataSection,
    DenseSection,
    FisherSection,
    GridModel,
    JacobianSection,
    MeasureSection,
    ModuleSection,
    SweepModel,
)
from .sweep.train_schema import PointsSection, TrainSection
from .sweep.tune_schema import TuneSection

__all__ = ["pages"]

_SECTIONS: tuple[tuple[str, str, type[BaseModel]], ...] = (
    ("network", "Dense networks", DenseSection),
    ("network", "A network of your own", ModuleSection),
    ("data", "Data", DataSection),
    ("data.augmentation", "Augmentation", AugmentationSection),
    ("measure", "Measurement", MeasureSection),
    ("measure.fisher", "Fisher information", FisherSection),
    ("measure.jacobian", "Jacobian", JacobianSection),
    ("train", "Training", TrainSection),
    ("train.measure", "Measured along the training", PointsSection),
    ("tune", "Search", TuneSection),
)


def _words(annotation: Any) -> list[str]:
    """Every word that a Literal somewhere inside the annotation allows."""
    found: list[str] = []
    for argument in get_args(annotation):
        if isinstance(argument, str):
            found.append(argument)
        else:
            found += _words(argument)
    return found


def _cell(text: str | None) -> str:
    return (text or "").replace("|", r"\|")


def _default(field: Any) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=False)
    if value is None or value in ((), {}):
        return "—"
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _rows(model: type[BaseModel], skip: frozenset[str] = frozenset()) -> Iterator[str]:
    yield "| key | values | default | meaning |"
    yield "|---|---|---|---|"
    for name, field in model.model_fields.items():
        if name in skip or (isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)):
            continue
        words = ", ".join(f"`{word}`" for word in dict.fromkeys(_words(field.annotation)))
        yield f"| `{name}` | {words or '…'} | {_default(field)} | {_cell(field.description)} |"


def sweep_file() -> str:
    """The reference of the sweep file."""
    from .reference_text import SWEEP_FILE

    parts = []
    for path, title, model in _SECTIONS:
        lines = [
            f"### {title} (`{path}`)",
            "",
            (model.__doc__ or "").strip(),
            "",
            *_rows(model, frozenset({"fisher", "jacobian", "augmentation"})),
        ]
        parts.append("\n".join(lines))
    top = "\n".join(
        ["### At the top", "", "| key | default | meaning |", "|---|---|---|"]
        + [
            f"| `{name}` | {_default(field)} | {_cell(field.description)} |"
            for name, field in {**SweepModel.model_fields, **GridModel.model_fields}.items()
            if name not in ("network", "data", "measure", "train", "tune")
        ]
    )
    names = "\n".join(
        ["| plain name | key |", "|---|---|", *(f"| `{name}` | `{'.'.join(path)}` |" for path, name in AXES.items())]
    )
    return SWEEP_FILE.format(top=top, sections="\n\n".join(parts), names=names)


def tables() -> str:
    """The reference of the tables."""
    from .reference_text import TABLES
    from .tables.schema import FISHER, JACOBIAN, LAYERS, RUNS, TRAINING

    def table(columns: Any) -> str:
        return "\n".join(
            [
                "| column | type | meaning |",
                "|---|---|---|",
                *(
                    f"| `{c.name}` | {str(c.type).replace('<item: double>', ' of double')} | {_cell(c.meaning)} |"
                    for c in columns
                ),
            ]
        )

    return TABLES.format(
        runs=table(RUNS), fisher=table(FISHER), jacobian=table(JACOBIAN), layers=table(LAYERS), training=table(TRAINING)
    )


def pages() -> dict[str, str]:
    """File name → text of every generated page."""
    return {"sweep-file.md": sweep_file(), "tables.md": tables()}


if __name__ == "__main__":
    for name, text in pages().items():
        Path(sys.argv[1], name).write_text(text, encoding="utf-8")
