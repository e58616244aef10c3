"""Records of runs that nobody computed: sound, and small."""

from __future__ import annotations

import numpy as np

from isosweep.measurement.measurement import FisherBlock, JacobianSample, LayerActivity, Measurement
from isosweep.store.records import encode_record, publish_record
from isosweep.store.store import Store
from isosweep.sweep.identity import MEASUREMENT_VERSION
from isosweep.sweep.settings import Run

__all__ = ["publish_made"]


def publish_made(store: Store, run: Run, values: np.ndarray, singular: int) -> None:
    """Publish a record of `run`, of two layers and two samples of the Jacobian.

    Args:
        values: eigenvalues of the whole Fisher matrix, descending; the first `singular` of them are singular values of
            the Jacobian, too.
    """
    measured = Measurement(
        (FisherBlock(0, "all", values.copy(), float(values[0]), float(values.sum()), len(values), 1e-12),),
        tuple(JacobianSample(0, i, values[:singular].copy(), np.log(values[:singular])) for i in range(2)),
        tuple(LayerActivity(0, i, f"layer{i}", 1.0, 0.5) for i in (1, 2)),
        {"input_mean_square": 1.0, "input_correlation": 0.0},
    )
    about = {"seconds": 0.1, "started_at": 1.0, "device": "cpu", "environment_class": "abc", "task": "none"}
    assert publish_record(store, run.id, "done", encode_record(run, measured, "done", MEASUREMENT_VERSION, about))
