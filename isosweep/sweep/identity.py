"""Run ids: what a run is, as 20 hexadecimal digits.

An id is the beginning of SHA-256 over canonical JSON of the settings' identities, the seed and the measurement version.
Nothing else enters: not the order of keys, nor how a number was spelled, nor the device, nor where files lie.
"""

from __future__ import annotations

import hashlib
import json

from .settings import DataSettings, MeasureSettings, ModuleSettings, NetworkSettings, Run
from .train_settings import TrainSettings

__all__ = [
    "ID_DIGITS",
    "MEASUREMENT_VERSION",
    "MEASUREMENT_VERSIONS",
    "Identities",
    "Identity",
    "identity_text",
    "run_id",
]

ID_DIGITS = 20

# Each version of what `execute` computes, and what changed with it. A change that moves any bit of any result gets a
# new one: the golden values of tests/test_golden.py fail until it does.
MEASUREMENT_VERSIONS: dict[int, str] = {
    1: "the first",
    2: "last bits: the Fisher's products by numpy's BLAS in wider tiles, convolutions by pairs of places; graded "
    "Jacobians by other reflections; training in larger shards, steps on square Stiefel weights in the orthogonal "
    "group's own coordinates",
    3: "last bits of Fisher spectra: the dual matrix of 2,500 rows and more is summed in wider tiles, 1,800 to 6,000 "
    "rows are reduced to a narrower band",
}
MEASUREMENT_VERSION = max(MEASUREMENT_VERSIONS)


_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False).encode


def identity_text(settings: NetworkSettings | ModuleSettings | DataSettings | MeasureSettings | TrainSettings) -> str:
    """Canonical JSON of what of `settings` enters the id."""
    return _encode(settings.identity())


class Identity:
    """Ids of the runs that share a network, data, measurement and training (each by its `identity_text`), but not the
    seed. Without training the text says nothing of it.
    """

    __slots__ = ("_end", "_hash")

    def __init__(
        self, network: str, data: str, measure: str, train: str | None = None, version: int = MEASUREMENT_VERSION
    ):
        text = f'{{"version":{version},"run":{{"data":{data},"measure":{measure},"network":{network},"seed":'
        self._hash = hashlib.sha256(text.encode())
        self._end = b"}}" if train is None else f',"train":{train}}}}}'.encode()

    def of(self, seed: int) -> str:
        """The id of the run with this seed."""
        whole = self._hash.copy()
        whole.update(b"%d" % seed + self._end)
        return whole.hexdigest()[:ID_DIGITS]


class Identities:
    """Ids of many runs under a measurement version. The settings of a sweep's runs are one object where they are equal,
    and must live as long as this, so that their addresses name them.
    """

    def __init__(self, version: int | None = None) -> None:
        """For the present version, or another."""
        self._version = () if version is None else (version,)
        self._texts: dict[int, str] = {}
        self._identities: dict[tuple[int, int, int, int], Identity] = {}

    def _text(self, settings: NetworkSettings | ModuleSettings | DataSettings | MeasureSettings | TrainSettings) -> str:
        text = self._texts.get(id(settings))
        if text is None:
            text = self._texts[id(settings)] = identity_text(settings)
        return text

    def id_of(
        self,
        network: NetworkSettings | ModuleSettings,
        data: DataSettings,
        measure: MeasureSettings,
        train: TrainSettings | None,
        seed: int,
    ) -> str:
        key = (id(network), id(data), id(measure), id(train))
        identity = self._identities.get(key)
        if identity is None:
            trained = None if train is None else self._text(train)
            texts = self._text(network), self._text(data), self._text(measure)
            identity = Identity(*texts, trained, *self._version)
            self._identities[key] = identity
        return identity.of(seed)


def run_id(run: Run, version: int = MEASUREMENT_VERSION) -> str:
    """The id of `run` under a measurement version (to find records of an older one)."""
    train = None if run.train is None else identity_text(run.train)
    return Identity(identity_text(run.network), identity_text(run.data), identity_text(run.measure), train, version).of(
        run.seed
    )
