"""From a point of a grid to canonical settings: defaults filled in, gains solved for, idle options dropped."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isosweep.fisher_memory import DEFAULT_MEMORY, Problem, cheapest_method, matrix_free_bytes

from .errors import Impossible
from .parse import AXIS_PATHS
from .resolve_architecture import no_fixed_point, resolve_architecture
from .resolve_data import IDLE_DATA_OPTIONS, DataResolver, without_training
from .resolve_train import TRAIN, resolve_train
from .settings import (
    DataSettings,
    FisherSettings,
    JacobianSettings,
    MeasureSettings,
    ModuleSettings,
    NetworkSettings,
)
from .train_settings import TrainSettings
from .user_module import UserModuleError, find_function

if TYPE_CHECKING:
    from isosweep.theory.critical_line import CriticalPoint

    from .grid import Grid, Point

__all__ = ["Impossible", "Resolver", "Settings"]

Settings = tuple[NetworkSettings | ModuleSettings, DataSettings, MeasureSettings, TrainSettings | None]

_NEGATIVE_SLOPE = 0.01
# Of the matrix-free method.
_LEADING, _STEPS = 10, 200
_NETWORK = tuple(name for name, path in AXIS_PATHS.items() if path[0] == "network")
_DATA = tuple(name for name, path in AXIS_PATHS.items() if path[0] == "data")
_MEASURE = tuple(name for name, path in AXIS_PATHS.items() if path[0] == "measure")
_SURROUNDINGS = (*(name for name in _DATA if name != "data_scale"), *_MEASURE)
_NOT_NETWORK = frozenset((*_DATA, *_MEASURE, *TRAIN, "seed"))
# With these networks every variance is a fixed point, so that a free q* may be chosen.
_FREE_Q_STAR = 1.0


@cache
def _critical(
    activation: str, negative_slope: float | None, q_star: float | None, bias_std: float | None
) -> CriticalPoint:
    from isosweep.theory.activations import activation as law
    from isosweep.theory.critical_line import NoCriticalPoint, critical_at_bias, critical_at_variance

    try:
        phi = law(activation, negative_slope)
        if q_star is not None:
            return critical_at_variance(phi, q_star)
        return critical_at_bias(phi, bias_std or 0.0)
    except (ValueError, ArithmeticError) as error:
        where = "q_star" if q_star is not None else "gain"
        what = "" if isinstance(error, NoCriticalPoint) else f"no critical point of {activation} was found: "
        raise Impossible(where, f"{what}{error}") from None


@cache
def _fixed_point(
    activation: str, negative_slope: float | None, sigma_w: float, sigma_b: float
) -> tuple[str, float | None, str]:
    """(kind, q*, in words)."""
    from isosweep.theory.activations import activation as law
    from isosweep.theory.mean_field import variance_fixed_point

    try:
        found = variance_fixed_point(law(activation, negative_slope), sigma_w, sigma_b)
    except (ValueError, ArithmeticError) as error:
        return "none", None, str(error)
    return found.kind, found.q_star, found.explain()


def _check_architecture(network: NetworkSettings | ModuleSettings, measure: MeasureSettings, point: Point) -> None:
    """What is known of plain dense networks alone."""
    shape = network.architecture if isinstance(network, NetworkSettings) else None
    if measure.reversal and (shape is None or shape.kind != "residual"):
        raise Impossible("reversal", "there is no time to go back in: expected network.architecture: residual")
    if not isinstance(network, NetworkSettings) or network.architecture is None:
        return
    if measure.fisher is not None and measure.fisher.bounds and not network.architecture.is_plain_chain:
        raise Impossible("fisher_bounds", "the bounds are derived for plain chains of dense layers: leave them out")
    if point.get("epochs") is None:
        return
    by_batch = network.architecture.normalization == "batch" and network.architecture.kind != "convolutional"
    if by_batch and point["batch"] == 1:
        raise Impossible("batch", "one sample has no variance to normalise by: expected 2 or more")
    if point.get("manifold") not in (None, "euclidean") and not network.architecture.carries_manifolds:
        raise Impossible(
            "manifold",
            f"{point['manifold']} is for plain dense layers of full precision in the standard parametrization: "
            "expected euclidean",
        )


class Resolver:
    """Settings of the points of a grid. Equal parts of points become one object, so that 100,000 runs stay cheap.

    Attributes:
        used: axes given in the file that had an effect on some point.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.used: set[str] = set()
        self._cache: dict[Any, Any] = {}
        self._data = DataResolver(folder)

    def settings(self, grid: Grid, point: Point) -> Settings:
        """The canonical settings of `point` (its seed aside).

        Raises:
            Impossible: there is no such run.
        """
        get = point.get
        module = get("module")
        network_key: tuple[Any, ...]
        if module is None:
            network_key = (None, *map(get, _NETWORK))
        else:  # true and 1 are two values
            network_key = tuple((n, v, v.__class__) for n, v in point.items() if n not in _NOT_NETWORK)
        surroundings = ("surroundings", grid.root, *map(get, _SURROUNDINGS))
        measure, unscaled = self._cached(surroundings, lambda: self._surroundings(grid, point))
        build = self._dense if module is None else self._module
        network_key = ("network", network_key, get("data_scale"), get("data"))
        network, scale, mean_square = self._cached(network_key, lambda: build(point))
        _check_architecture(network, measure, point)
        if measure.fisher is not None and get("fisher_method") == "auto":
            sizes = ("method", surroundings, get("depth"), get("width"), module)
            undecided = measure
            measure = self._cached(sizes, lambda: self._decided(point, undecided, network, unscaled))
        data = self._cached(
            (surroundings, scale, mean_square), lambda: replace(unscaled, scale=scale, mean_square=mean_square)
        )
        trained = tuple(map(get, TRAIN))
        if all(value is None for value in trained):
            if get("data_samples") is None:  # the other splits decide how many are left
                self.used.update(("data_validation", "data_test"))
            whole = data
            data = self._cached(
                ("measured", id(whole), id(measure)), lambda: without_training(whole, measure, self.used)
            )
            return network, data, measure, None
        self.used.update(IDLE_DATA_OPTIONS)
        # what training asks of the network enters the key too: its manifold, what the loss follows from
        key = ("train", trained, grid.marks, id(network), id(data), id(measure))
        train = self._cached(key, lambda: resolve_train(point, grid.marks, network, data, measure, self.used))
        return network, data, measure, train

    def _surroundings(self, grid: Grid, point: Point) -> tuple[MeasureSettings, DataSettings]:
        """What does not depend on the network: the measurement, and the data but for their scale."""
        measure = self._measure(point)
        data = self._data.settings(grid.root, point)
        self._check_measure(measure, data)
        return measure, data

    def _cached(self, key: Any, make: Any) -> Any:
        try:
            value = self._cache[key]
        except KeyError:
            try:
                value = make()
            except Impossible as error:
                value = error
            self._cache[key] = value
        if isinstance(value, Impossible):
            raise value.with_traceback(None)
        return value

    def _measure(self, point: Point) -> MeasureSettings:
        n, m = point.get("fisher_samples"), point.get("jacobian_samples")
        if n is None and m is None:
            raise Impossible("fisher_samples", "nothing is measured: expected fisher, jacobian, or both")
        if n is not None and m is not None and m > n and point.get("fisher_data") == point.get("jacobian_data"):
            raise Impossible(
                "jacobian_samples",
                f"the Jacobian's {m} samples are the first of the Fisher's {n}: expected at most {n}",
            )
        fisher = None if n is None else self._fisher(point, n)
        jacobian = None if m is None else JacobianSettings(m, point.get("jacobian_data") or "train")
        return MeasureSettings(fisher, jacobian, point["dtype"], bool(point.get("reversal")))

    def _fisher(self, point: Point, samples: int) -> FisherSettings:
        """As asked; "auto" counts as the dual until the network's shapes are known (`_decided`)."""
        method = point["fisher_method"]
        if method != "dual":
            self.used.update(("fisher_leading", "fisher_steps", "fisher_probes"))
        dual = FisherSettings(
            samples,
            point["fisher_likelihood"],
            point["fisher_layers"],
            "dual",
            point["fisher_parameter_set"],
            point["fisher_kind"],
            point["fisher_centred"],
            point["fisher_bounds"],
            point.get("fisher_damping"),
            data=point.get("fisher_data") or "train",
        )
        if dual.bounds and not dual.is_plain:
            raise Impossible(
                "fisher_bounds", "the bounds are of the true Fisher over all parameters, not centred: leave them out"
            )
        return self._matrix_free(point, dual) if method == "lanczos" else dual

    def _matrix_free(self, point: Point, fisher: FisherSettings) -> FisherSettings:
        if fisher.layers == "spectrum":
            raise Impossible("fisher_layers", "method lanczos gives no spectra of the layers' blocks: expected none")
        leading = point.get("fisher_leading") or _LEADING
        steps, probes = point.get("fisher_steps") or _STEPS, point.get("fisher_probes") or 0
        if steps < leading:
            raise Impossible("fisher_steps", f"{steps} steps cannot show {leading} eigenvalues: expected as many")
        if fisher.damping is not None and not probes:
            raise Impossible("fisher_damping", "with method lanczos this is estimated from the density: set probes")
        return replace(fisher, method="lanczos", layers="none", leading=leading, steps=steps, probes=probes)

    def _decided(
        self, point: Point, measure: MeasureSettings, network: NetworkSettings | ModuleSettings, data: DataSettings
    ) -> MeasureSettings:
        """The measurement by the method that fits the budget: the rule of `fisher_memory`, from shapes alone."""
        fisher = measure.fisher
        assert fisher is not None
        if not isinstance(network, NetworkSettings) or network.architecture is not None:
            raise Impossible(
                "fisher_method", "auto needs the network's shapes before it is built: name dual or lanczos"
            )
        self.used.add("fisher_memory")
        depth, width = network.depth, network.width
        inputs, classes = data.inputs, data.classes
        per_sample = 1 if fisher.kind == "empirical" else classes - (fisher.likelihood == "categorical")
        weights = inputs * width + (depth - 1) * width**2 + width * classes
        problem = Problem(
            samples=fisher.samples,
            rows=fisher.samples * (classes if fisher.centred else per_sample),
            parameters=weights + (depth * width + classes if fisher.parameters == "all" else 0),
            saved=inputs + 2 * depth * width,
            widest=max(inputs, width),
            itemsize=int(measure.dtype.removeprefix("float")) // 8,
            layers=fisher.layers != "none",
        )
        gibibytes = point.get("fisher_memory")
        budget = DEFAULT_MEMORY if gibibytes is None else int(gibibytes * 2**30)
        if cheapest_method(problem, budget) == "dual":
            return measure
        chosen = self._matrix_free(point, fisher)
        assert chosen.steps is not None
        need = matrix_free_bytes(problem, chosen.steps)
        if need > budget:
            raise Impossible(
                "fisher_memory",
                f"even the matrix-free method needs about {need / 2**30:.3g} GiB: expected more, or fewer samples",
            )
        return replace(measure, fisher=chosen)

    def _check_measure(self, measure: MeasureSettings, data: DataSettings) -> None:
        if measure.fisher is not None and measure.fisher.likelihood == "categorical" and data.classes < 2:
            raise Impossible("data_classes", "a categorical likelihood over one class has no information: expected 2")
        for axis, part in (("fisher_samples", measure.fisher), ("jacobian_samples", measure.jacobian)):
            if part is None:
                continue
            there, key = (data.samples, "data.samples") if part.data == "train" else (data.test or 0, "data.test")
            if part.samples > there:
                raise Impossible(axis, f"{part.samples} samples to measure on are more than the {there} of {key}")

    def _checkpoint(self, path: str | None) -> tuple[str | None, str | None]:
        if path is None:
            return None, None
        file = (self.folder / Path(path).expanduser()).absolute()
        return str(file), self._cached(("checkpoint", file), lambda: self._checksum(file))

    def _checksum(self, file: Path) -> str:
        import hashlib

        try:
            with file.open("rb") as stream:
                return hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as error:
            raise Impossible("checkpoint", f"cannot read the checkpoint {file}: {error.strerror}") from None

    def _plain_scale(self, point: Point, why_no_fixed_point: str | None) -> tuple[str, float | None]:
        scale = point.get("data_scale") or "unit"
        if scale == "fixed_point" and why_no_fixed_point:
            raise Impossible("data_scale", f"no fixed point to scale the inputs to: {why_no_fixed_point}")
        return ("raw", None) if scale == "raw" else ("unit", 1.0)

    def _module(self, point: Point) -> tuple[ModuleSettings, str, float | None]:
        arguments = {n: v for n, v in point.items() if n not in _NOT_NETWORK and n not in ("module", "checkpoint")}
        try:
            function = self._cached(("function", point["module"]), lambda: find_function(point["module"], self.folder))
            passes = function.check(set(arguments))
        except UserModuleError as error:
            raise Impossible("module", str(error)) from None
        path, checksum = self._checkpoint(point.get("checkpoint"))
        network = ModuleSettings(
            point["module"], tuple(sorted(arguments.items())), function.sources, passes, path, checksum
        )
        return network, *self._plain_scale(point, "mean field knows nothing of a network of your own")

    def _dense(self, point: Point) -> tuple[NetworkSettings, str, float | None]:
        activation, gain = point["activation"], point.get("gain", 0.0)
        slope = None
        if activation == "leaky_relu":
            slope = point.get("negative_slope")
            slope = _NEGATIVE_SLOPE if slope is None else slope
            self.used.add("negative_slope")
        shape = resolve_architecture(point, self.used)
        depth, width = point["depth"], point["width"]
        if shape is not None and shape.widths is not None:
            depth, width = len(shape.widths), max(shape.widths)
        base = {
            "depth": depth,
            "width": width,
            "activation": activation,
            "negative_slope": slope,
            "architecture": shape,
        }
        if point.get("checkpoint") is not None:
            for axis in ("init", "gain", "bias_std", "q_star"):
                if point.get(axis) is not None:
                    raise Impossible(axis, "without effect where the weights come from a checkpoint: leave it out")
            path, checksum = self._checkpoint(point["checkpoint"])
            network = NetworkSettings(**base, checkpoint=path, checkpoint_checksum=checksum)
            return network, *self._plain_scale(point, "the gain of a checkpoint is not known")
        for axis in ("init", "gain"):
            if point.get(axis) is None:
                raise Impossible(axis, "this key is missing (a value for every point, or a checkpoint)")
        if gain == "critical":
            return self._critical_network(point, base, slope)
        bias_std = point.get("bias_std") or 0.0
        scale, mean_square, q_used = self._scale(point, slope, gain, bias_std, without=no_fixed_point(shape))
        if q_used:
            self.used.add("q_star")
        return (
            NetworkSettings(**base, init=point["init"], gain=gain, bias_std=bias_std, q_star=q_used),
            scale,
            mean_square,
        )

    def _critical_network(
        self, point: Point, base: dict[str, Any], slope: float | None
    ) -> tuple[NetworkSettings, str, float | None]:
        bias_std, q_star = point.get("bias_std"), point.get("q_star")
        if q_star is not None and bias_std is not None:
            raise Impossible(
                "bias_std",
                "gain: critical with q_star solves for bias_std too: leave bias_std out, "
                "or let it exist only elsewhere (when: {bias_std: {gain: {not: critical}}})",
            )
        critical = _critical(point["activation"], slope, q_star, None if q_star is not None else bias_std or 0.0)
        if q_star is not None:
            self.used.add("q_star")
        known_q = None if critical.every_q else critical.q_star
        shape = base["architecture"]
        if shape is not None and not shape.biases and critical.sigma_b > 0:
            raise Impossible("biases", f"this critical point has σ_b = {critical.sigma_b:g}, and there are no biases")
        scale, mean_square, q_used = self._scale(
            point,
            slope,
            critical.sigma_w,
            critical.sigma_b,
            known_q=known_q,
            every_q=critical.every_q,
            without=no_fixed_point(shape),
        )
        network = NetworkSettings(
            **base,
            init=point["init"],
            gain=critical.sigma_w,
            gain_rule="critical",
            bias_std=critical.sigma_b,
            # where every q is a fixed point (ReLU, say) all have one line, and q* matters to the inputs' scale alone
            q_star=q_used if critical.every_q else q_star,
        )
        return network, scale, mean_square

    def _scale(
        self,
        point: Point,
        slope: float | None,
        sigma_w: float,
        sigma_b: float,
        *,
        known_q: float | None = None,
        every_q: bool = False,
        without: str | None = None,
    ) -> tuple[str, float | None, float | None]:
        """(scale used, mean |x|²/N_0, the q* chosen where every q is a fixed point)."""
        asked = point.get("data_scale") or "unit"
        if asked in ("unit", "raw") or without is not None:
            return (*self._plain_scale(point, without), None)
        chosen = None
        if every_q:
            kind, q, words = "every", None, ""
        elif known_q is not None:
            kind, q, words = "point", known_q, f"q* = {known_q:g}"
        else:
            kind, q, words = _fixed_point(point["activation"], slope, sigma_w, sigma_b)
        if kind == "every":
            q = chosen = point.get("q_star") or _FREE_Q_STAR
        if q is not None and kind in ("point", "every"):
            mean_square = (q - sigma_b**2) / sigma_w**2
            if 0 < mean_square < float("inf"):
                return "fixed_point", mean_square, chosen
            words = "q* is 0" if q == 0 else f"q* = {q:g} is not above σ_b² = {sigma_b**2:g}"
        if asked == "fixed_point_or_unit":
            return "unit", 1.0, None
        raise Impossible("data_scale", f"no fixed point to scale the inputs to: {words}")
