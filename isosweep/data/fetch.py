"""Data sets fetched from where they are published: on a login node, by a person. Runs never download anything."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from .catalogue import CATALOGUE
from .check import CheckedPart, check
from .files import root_of
from .published import DOWNLOADS, Download

__all__ = ["FetchError", "fetch"]

_TRIES = 2


class FetchError(Exception):
    """A data set that could not be fetched; what is wrong, and what to do. No half file is left in its place."""


def _refuse_in_a_job() -> None:
    job = os.environ.get("SLURM_JOB_ID")
    if job:
        raise FetchError(
            f"this is Slurm job {job}: compute nodes do not download. Fetch on the login node, into a folder that the "
            "nodes see"
        )


def _get(download: Download, address: str, folder: Path, file: str, progress: bool) -> None:
    """One file into `folder`: downloaded beside it, checked, then renamed."""
    import pooch
    import requests

    pooch.get_logger().setLevel("WARNING")
    store = pooch.create(folder, address, registry=download.files, retry_if_failed=_TRIES - 1, allow_updates=False)
    downloader = pooch.HTTPDownloader(progressbar=progress)
    try:
        store.fetch(file, downloader=downloader)
    except ValueError as error:
        if (folder / file).exists():
            raise FetchError(
                f"{folder / file} is there already and is not the published file (its checksum is not "
                f"{download.files[file]}): move it away and fetch again"
            ) from error
        raise FetchError(f"what {address}{file} sent has not the checksum {download.files[file]}: not kept") from error
    except requests.RequestException as error:
        raise FetchError(f"{address}{file} cannot be had: {error}") from error
    except OSError as error:
        raise FetchError(f"{folder / file} cannot be written: {error.strerror or error}") from error


def fetch(
    name: str,
    root: str | None = None,
    address: str | None = None,
    *,
    progress: bool = False,
    say: Callable[[str], None] = lambda text: None,
    download: Download | None = None,
) -> list[CheckedPart]:
    """Fetch the files of the data set `name` that are not there yet, and check all of them.

    Args:
        name: a data set.
        root: the folder that data sets lie in (the environment's ISOSWEEP_DATA if None); made if need be.
        address: a mirror's, instead of the published ones; the checksums are the same.
        progress: a bar on standard error.
        say: what is told of each file.
        download: what to fetch, instead of the published files.

    Raises:
        FetchError: inside a Slurm job; no address answers; what came has another checksum, or does not read.
        MissingData: no folder is given.
    """
    _refuse_in_a_job()
    if not CATALOGUE[name].forms:
        return []
    folder = root_of(name, root) / CATALOGUE[name].folder
    wanted = download or DOWNLOADS[name]
    addresses = wanted.addresses if address is None else (address.rstrip("/") + "/",)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FetchError(f"{folder} cannot be made: {error.strerror or error}") from error
    for file in wanted.files:
        failures: list[str] = []
        for place in addresses:
            say(f"{place}{file} → {folder / file}")
            try:
                _get(wanted, place, folder, file, progress)
                break
            except FetchError as error:
                failures.append(str(error))
        else:
            raise FetchError("; ".join(dict.fromkeys(failures)))
    return check(name, root)
