"""The data of a point: the set found and checked, and room in it for every split that is asked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from isosweep.data.catalogue import CATALOGUE, DataSet, Part
from isosweep.data.errors import MissingData
from isosweep.data.locate import Located, locate

from .errors import Impossible
from .settings import AugmentationSettings, DataSettings, MeasureSettings

if TYPE_CHECKING:
    from .grid import Point

__all__ = ["IDLE_DATA_OPTIONS", "DataResolver", "without_training"]

# An option that may be idle → where it has an effect, for a sweep in which it has none.
IDLE_DATA_OPTIONS = {
    "data_validation": "a section train",
    "data_test": "a section train, or measure.fisher.data or measure.jacobian.data: test",
    "augmentation_flip": "a section train",
    "augmentation_shift": "a section train",
    "augmentation_crop": "a section train",
}


class DataResolver:
    """Settings of data. Each part of each set is looked for once."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._located: dict[tuple[str, str | None, Part], Located] = {}

    def settings(self, root: str | None, point: Point) -> DataSettings:
        """The data of `point`, but for their scale, which the network decides (here: raw).

        Raises:
            Impossible: there are no such data, or too few.
        """
        name = point["data"]
        base = self._synthetic(name, point) if CATALOGUE[name].inputs is None else self._of_set(name, root, point)
        return replace(
            base,
            validation=point.get("data_validation"),
            test=point.get("data_test"),
            standardise=bool(point.get("data_standardise")),
            augmentation=_augmentation(CATALOGUE[name], name, point),
        )

    def _synthetic(self, name: str, point: Point) -> DataSettings:
        missing = [key for key in ("inputs", "classes", "samples") if point.get(f"data_{key}") is None]
        if missing:
            raise Impossible("data", f"the data set {name} needs data.{' and data.'.join(missing)}")
        return DataSettings(name, point["data_samples"], "raw", None, point["data_inputs"], point["data_classes"])

    def _of_set(self, name: str, root: str | None, point: Point) -> DataSettings:
        entry = CATALOGUE[name]
        for axis in ("data_inputs", "data_classes"):
            if point.get(axis) is not None:
                raise Impossible(
                    axis,
                    f"only for the data set gaussian; {name} has {entry.inputs} inputs and {entry.classes} classes",
                )
        located = self._found(name, root, "train")
        test, test_checksum = point.get("data_test"), None
        shared = {"data_validation": point.get("data_validation") or 0}
        if test is not None and entry.has_test_set:
            own = self._found(name, root, "test")
            test_checksum = own.checksum
            if test > own.available:
                raise Impossible("data_test", f"{test} samples are more than the {own.available} of {name}'s test set")
        elif test is not None:
            shared["data_test"] = test
        samples = _size_of_training(name, located.available, point.get("data_samples"), shared)
        return DataSettings(
            name,
            samples,
            "raw",
            None,
            located.inputs,
            located.classes,
            located.checksum,
            located.root,
            test_checksum=test_checksum,
        )

    def _found(self, name: str, root: str | None, part: Part) -> Located:
        key = (name, root, part)
        if key not in self._located:
            place = None if root is None else str(self.folder / Path(root).expanduser())
            try:
                self._located[key] = locate(name, place, part)
            except MissingData as error:
                raise Impossible("data", str(error)) from None
        located = self._located[key]
        for (other, _, other_part), found in self._located.items():
            if (other, other_part) != (name, part) and located.checksum and found.checksum == located.checksum:
                alike = f"{other}'s" if other != name else f"those of its {other_part} set"
                raise Impossible("data", f"{located.files[0]} are {name}'s files and {alike} alike: name one")
        return located


def without_training(data: DataSettings, measure: MeasureSettings, used: set[str]) -> DataSettings:
    """The data of a run that is measured at initialisation alone: splits that nothing is measured on are none."""
    test, test_checksum = data.test, data.test_checksum
    if "test" in {part.data for part in (measure.fisher, measure.jacobian) if part is not None}:
        used.add("data_test")
    else:
        test = test_checksum = None
    return replace(data, validation=None, test=test, test_checksum=test_checksum, augmentation=None)


def _size_of_training(name: str, available: int, samples: int | None, others: dict[str, int]) -> int:
    """`samples`, or all that the other splits leave of the training set."""
    left = available - sum(others.values())
    if samples is None:
        if left < 1:
            axis = max(others, key=lambda n: others[n])
            raise Impossible(axis, f"of the {available} that {name} has, nothing is left to train on")
        return left
    if samples > available:
        raise Impossible("data_samples", f"{samples} samples are more than the {available} that {name} has")
    if samples > left:
        splits = " and ".join(f"{n.removeprefix('data_')} {size}" for n, size in others.items() if size)
        raise Impossible(
            "data_samples",
            f"{samples} samples beside {splits} are more than the {available} that {name} has: they share none",
        )
    return samples


def _augmentation(entry: DataSet, name: str, point: Point) -> AugmentationSettings | None:
    """None where nothing is changed: one experiment has one spelling."""
    flip = bool(point.get("augmentation_flip"))
    shift, crop = point.get("augmentation_shift") or 0, point.get("augmentation_crop") or 0
    if not (flip or shift or crop):
        return None
    if entry.shape is None:
        axis = "augmentation_flip" if flip else "augmentation_shift" if shift else "augmentation_crop"
        raise Impossible(axis, f"{name} inputs are no images")
    side = min(entry.shape[1:])
    for axis, pixels in (("augmentation_shift", shift), ("augmentation_crop", crop)):
        if pixels >= side:
            raise Impossible(axis, f"{pixels} pixels are the whole of {name}'s {side}: expected at most {side - 1}")
    return AugmentationSettings(flip, shift, crop)
