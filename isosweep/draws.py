"""Random numbers of a run: one counter-based generator for each purpose, whatever was drawn before."""

from __future__ import annotations

import hashlib
import threading

import numpy as np

__all__ = ["GLOBAL_GENERATORS", "generator"]

# Whoever seeds the global generators of Python, numpy and torch, or lets a user's code draw from them, holds it: they
# are the process's, and runs may be side by side in its threads. Taken before any other lock.
GLOBAL_GENERATORS = threading.RLock()


def generator(seed: int, purpose: str, layer: int = 0) -> np.random.Generator:
    """The generator of (seed, purpose, layer): Philox 4×64, its key the beginning of a SHA-256 of the three.

    The same three give the same stream on every machine; different ones give independent streams. numpy's version
    decides how a stream becomes normal numbers, and is part of the environment class.
    """
    digest = hashlib.sha256(f"isosweep:{seed}:{purpose}:{layer}".encode()).digest()
    return np.random.Generator(np.random.Philox(key=np.frombuffer(digest[:16], dtype="<u8")))
