"""The columns of the five tables: names, types and meanings. `docs/tables.md` is generated from here."""

from __future__ import annotations

from typing import NamedTuple

import pyarrow as pa

from isosweep.measurement.training_columns import TRAINING_COLUMNS

__all__ = ["FISHER", "JACOBIAN", "LAYERS", "RUNS", "TRAINING", "Column", "schema_of"]


class Column(NamedTuple):
    """A column: its name, its Arrow type, and what it holds."""

    name: str
    type: pa.DataType
    meaning: str


_TEXT, _INT, _REAL, _FLAG = pa.string(), pa.int64(), pa.float64(), pa.bool_()
_VALUES = pa.list_(pa.float64())

# Null in runs that do not train, and where the optimizer, the manifold or the schedule has no such option.
_TRAIN = (
    Column("epochs", _INT, "times through the training split; null in a run that does not train, as all that follow"),
    Column("batch", _INT, "samples of a minibatch"),
    Column("optimizer", _TEXT, "optimizer"),
    Column("learning_rate", _REAL, "learning rate of biases and readout, and of weights that are not moved apart"),
    Column("learning_rate_manifold", _REAL, "learning rate of hidden weights on a manifold, with scales, or by muon"),
    Column("learning_rate_scale", _REAL, "learning rate of the layers' scales; 0 where they stay; null without"),
    Column("momentum", _REAL, "momentum μ"),
    Column("beta1", _REAL, "β1"),
    Column("beta2", _REAL, "β2"),
    Column("eps", _REAL, "ε"),
    Column("weight_decay", _REAL, "weight decay λ"),
    Column("manifold", _TEXT, "where hidden weights move: euclidean, stiefel or oblique"),
    Column("layer_scales", _FLAG, "whether hidden layers have a scale that is trained"),
    Column("orthogonality_penalty", _REAL, "ω of the penalty (ω/2)‖XXᵀ − I‖²"),
    Column("schedule", _TEXT, "schedule of the learning rates"),
    Column("warmup", _REAL, "epochs of warm-up"),
    Column("decay_every", _REAL, "epochs between the steps of the schedule step"),
    Column("decay_factor", _REAL, "factor of each"),
    Column("clip", _REAL, "largest norm of a minibatch's gradient"),
    Column("blend", _REAL, "ρ of blended coarse gradient descent; 0: the plain coarse gradient"),
    Column("loss_function", _TEXT, "cross_entropy or squared_error"),
    Column("train_dtype", _TEXT, "floating type of the training"),
    Column("hessian_count", _INT, "leading eigenvalues of the Hessian asked for"),
    Column("kernel_samples", _INT, "inputs of the tangent kernel"),
    Column("smoothness_every", _INT, "steps from one measurement of the local smoothness to the next"),
)

_SPLITS = (("train", "training"), ("validation", "validation"), ("test", "test"))

RUNS = (
    Column("run_id", _TEXT, "identity of the run: a hash of its settings and the measurement version"),
    Column("sweep", _TEXT, "name of the sweep"),
    Column("depth", _INT, "hidden layers L"),
    Column("width", _INT, "units N of every hidden layer"),
    Column("activation", _TEXT, "activation φ"),
    Column("negative_slope", _REAL, "slope of leaky_relu below 0; null for the others"),
    Column("init", _TEXT, "orthogonal or gaussian"),
    Column("gain", _REAL, "σ_w, always the number"),
    Column("gain_rule", _TEXT, "critical where σ_w was solved for, else null"),
    Column("bias_std", _REAL, "σ_b, always the number"),
    Column("q_star", _REAL, "q* that the gain was solved for, or that the inputs start at where any may be chosen"),
    Column("checkpoint", _TEXT, "file of the user's own weights"),
    Column("architecture", _TEXT, "dense, residual or convolutional"),
    Column("time_step", _REAL, "step size Δt of a residual block; null for other networks"),
    Column("scheme", _TEXT, "explicit scheme of a residual block"),
    Column("block_steps", _INT, "steps of a residual block, all with its own parameters"),
    Column("normalization", _TEXT, "none, layer, rms or batch (by the statistics of the measured batch, held fixed)"),
    Column("normalization_position", _TEXT, "pre or post, in residual networks"),
    Column("tied", pa.bool_(), "whether hidden layers 2 … L are one layer"),
    Column("biases", pa.bool_(), "whether layers have biases"),
    Column("weight_bits", _INT, "bits a weight; null: not quantised. Curvature is then that of the coarse derivative"),
    Column("activation_bits", _INT, "bits an activation; null: not quantised. Likewise"),
    Column("activation_clip", _REAL, "where quantised activations are clipped"),
    Column("widths", _TEXT, "units of every hidden layer in turn, where they are given so"),
    Column("parametrization", _TEXT, "standard, ntk or mup"),
    Column("readout_scale", _REAL, "factor of the readout's σ_w"),
    Column("kernel", _INT, "edge of a convolution's kernel"),
    Column("padding", _TEXT, "of convolutions: circular or zeros"),
    Column("module", _TEXT, "function of the user's own network; its arguments follow as columns of their own names"),
    Column("data", _TEXT, "data set"),
    Column("data_samples", _INT, "size of the training split"),
    Column("data_scale", _TEXT, "scale used: unit, fixed_point or raw"),
    Column("data_inputs", _INT, "input dimension N_0"),
    Column("data_classes", _INT, "classes C"),
    Column("data_validation", _INT, "size of the validation split; null without one"),
    Column("data_test", _INT, "size of the test split; null without one"),
    Column("data_standardise", _FLAG, "whether each channel was brought to mean 0 and variance 1"),
    Column("augmentation_flip", _FLAG, "whether training images are mirrored at random"),
    Column("augmentation_shift", _INT, "pixels that training images are moved by at most"),
    Column("augmentation_crop", _INT, "pixels by which a training image's window is smaller"),
    Column("fisher_samples", _INT, "inputs n that the Fisher is averaged over"),
    Column("fisher_data", _TEXT, "the split whose first samples they are: train or test"),
    Column("fisher_likelihood", _TEXT, "categorical or gaussian"),
    Column("fisher_layers", _TEXT, "what is kept of each layer's block"),
    Column("fisher_method", _TEXT, "dual: the whole spectrum; lanczos: its leading part, matrix-free"),
    Column("fisher_parameter_set", _TEXT, "all, or weights: biases do not count"),
    Column("fisher_kind", _TEXT, "true or empirical"),
    Column("fisher_centred", _FLAG, "whether the batch's mean Jacobian is subtracted"),
    Column("fisher_bounds", _FLAG, "whether bounds of λ_max were asked for"),
    Column("fisher_damping", _REAL, "λ of the effective dimension and the log determinant; null if not asked for"),
    Column("fisher_leading", _INT, "leading eigenvalues asked of lanczos; null for dual"),
    Column("fisher_steps", _INT, "largest Krylov dimension of lanczos; null for dual"),
    Column("fisher_probes", _INT, "random probes of lanczos' density; null for dual"),
    Column("jacobian_samples", _INT, "inputs m whose Jacobian is taken"),
    Column("jacobian_data", _TEXT, "the split whose first samples they are: train or test"),
    *_TRAIN,
    Column("dtype", _TEXT, "floating type of the measurement"),
    Column("reversal", pa.bool_(), "whether the errors of going back in time were measured"),
    Column("seed", _INT, "seed"),
    Column(
        "status",
        _TEXT,
        "done, diverged, running, pending, failed, oom, timeout, cancelled, preempted, node_failed, lost or missing",
    ),
    Column("attempts", _INT, "failed attempts so far"),
    Column("failure_cause", _TEXT, "first line of the last failure's cause; null where there is a record"),
    Column("digest", _TEXT, "SHA-256 over the measured arrays' bits; null unless there is a record"),
    Column("fisher_lambda_max", _REAL, "largest eigenvalue of the Fisher information matrix"),
    Column("fisher_trace", _REAL, "trace of the Fisher information matrix"),
    Column(
        "fisher_rank", _INT, "numerical rank: eigenvalues above R·ε·λ_max, R rows of the dual matrix; null for lanczos"
    ),
    Column(
        "fisher_condition_number",
        _REAL,
        "λ_max over the smallest eigenvalue that counts towards the rank; null for lanczos",
    ),
    Column("fisher_frobenius", _REAL, "Frobenius norm of the Fisher information matrix; for lanczos estimated"),
    Column("fisher_frobenius_error", _REAL, "its standard error over lanczos' probes; null where it is exact"),
    Column("fisher_abs_error", _REAL, "bound of the absolute error of every eigenvalue"),
    Column("fisher_parameters", _REAL, "parameters P of the network that count"),
    Column("fisher_effective_dimension", _REAL, "tr F(F + λI)⁻¹ for λ = fisher_damping; for lanczos estimated"),
    Column("fisher_effective_dimension_error", _REAL, "its standard error over the probes; null where it is exact"),
    Column("fisher_log_determinant", _REAL, "log det(I + F/λ), natural; for lanczos estimated"),
    Column("fisher_log_determinant_error", _REAL, "its standard error over the probes; null where it is exact"),
    Column(
        "fisher_bound_block_rows",
        _REAL,
        "bound of fisher_lambda_max: block Gershgorin over all rows of blocks, weights and biases apart; in large "
        "networks from norms that are estimated to about 0.1 %",
    ),
    Column(
        "fisher_bound_block_norms",
        _REAL,
        "bound of fisher_lambda_max: λ_max of the matrix of the blocks' norms, which are estimated likewise",
    ),
    Column("fisher_bound_layer_sum", _REAL, "bound of fisher_lambda_max: (1/n) Σ_i λ_max(H_i) Σ_l (|x|²+1) σ_max²"),
    Column("fisher_sokol_park", _REAL, "approximation of fisher_lambda_max by Sokol and Park; it can be exceeded"),
    Column("jacobian_s_max", _REAL, "largest singular value of ∂x^L/∂x^0 over the samples"),
    Column("jacobian_log_s_max", _REAL, "its natural logarithm"),
    Column(
        "jacobian_log_s_min",
        _REAL,
        "natural logarithm of the smallest singular value that is not exactly 0, over the samples",
    ),
    Column("jacobian_rank", _REAL, "singular values that are not exactly 0, in the sample that has fewest"),
    Column("training_steps", _REAL, "optimizer steps done"),
    Column("diverged_step", _REAL, "step at which training left the finite numbers; null where it did not"),
    *(Column(f"final_{name}_loss", _REAL, f"loss on the {words} split at the end") for name, words in _SPLITS),
    *(Column(f"final_{name}_accuracy", _REAL, f"right answers on the {words} split") for name, words in _SPLITS),
    Column("smoothness_l0", _REAL, "L0 of the local smoothness |Δg|/|Δθ| ≈ L0 + L1·|g| along the training"),
    Column("smoothness_l1", _REAL, "L1 of that fit"),
    Column("reversal_state_error", _REAL, "relative error of the first block's inputs as found by going back in time"),
    Column("reversal_gradient_error", _REAL, "relative error of the gradient that is taken at such states"),
    Column("input_mean_square", _REAL, "mean of |x|²/N_0 over the Fisher's inputs"),
    Column("input_correlation", _REAL, "mean of x_i·x_j over distinct inputs, as a share of the mean of |x|²"),
    Column("theory_q_star", _REAL, "fixed point q* of the pre-activations' variance"),
    Column("theory_chi", _REAL, "gradient multiplier χ at q*"),
    Column("theory_c_star", _REAL, "correlation that two inputs tend to"),
    Column("theory_xi_q", _REAL, "depth scale of the variance, in layers"),
    Column("theory_xi_c", _REAL, "depth scale of the correlation, in layers"),
    Column("theory_xi_grad", _REAL, "depth scale of gradients, in layers"),
    Column("theory_phase", _TEXT, "ordered, critical or chaotic"),
    Column("theory_jacobian_mean", _REAL, "mean squared singular value of ∂x^L/∂x^0, from the layers' own variances"),
    Column("theory_jacobian_variance", _REAL, "variance of the squared singular values"),
    Column("theory_jacobian_s_max", _REAL, "largest singular value in the wide limit; beside jacobian_s_max"),
    Column("theory_jacobian_zero_mass", _REAL, "share of singular values that are exactly 0, at this width"),
    Column("theory_fisher_trace", _REAL, "trace of the Fisher; beside fisher_trace"),
    Column("theory_fisher_lambda_max", _REAL, "largest eigenvalue of the Fisher; beside fisher_lambda_max"),
    Column(
        "theory_fisher_lambda_max_split",
        _REAL,
        "the same at this width, where the C-fold eigenvalue splits: the first of the C",
    ),
    Column(
        "theory_fisher_lambda_max_spread",
        _REAL,
        "how much theory_fisher_lambda_max should vary from seed to seed at this width: a standard deviation",
    ),
    Column("theory_kappa_1", _REAL, "Karakida's κ_1"),
    Column("theory_kappa_2", _REAL, "Karakida's κ_2"),
    Column("theory_learning_rate_max", _REAL, "2/λ_max"),
    Column("theory_note", _TEXT, "why a theory column is empty, and the conditions of the others"),
    Column(
        "residual_fisher_lambda_max",
        _REAL,
        "(measured − predicted), mean over the seeds, in units of the spread over them",
    ),
    Column("residual_fisher_trace", _REAL, "the same for the trace"),
    Column("residual_jacobian_s_max", _REAL, "the same for the largest singular value"),
    Column("environment_class", _TEXT, "hash of what can change bits: processor, GPU, driver, libraries"),
    Column("code_id", _TEXT, "hash of isosweep's sources that computed it; in the store, code/ID is a copy"),
    Column("isosweep_version", _TEXT, "version of isosweep"),
    Column("modules_id", _TEXT, "hash of users' own modules that it imported; in the store, modules/ID is a copy"),
    Column("git_commit", _TEXT, "commit of isosweep's checkout at the launch; null where it was installed"),
    Column("git_patch", _TEXT, "hash of what differed from it, kept as provenance/HASH.patch; null where nothing did"),
    Column("modules_git_commit", _TEXT, "commit of the checkout with the users' own modules"),
    Column("modules_git_patch", _TEXT, "hash of what differed from it, kept as provenance/HASH.patch"),
    Column("lock", _TEXT, "hash of the installed packages at the launch, kept as provenance/HASH.lock"),
    Column("measurement_version", _INT, "version of the measurement"),
    Column("hostname", _TEXT, "node"),
    Column("device", _TEXT, "cpu or cuda"),
    Column("cpu_model", _TEXT, "processor"),
    Column("gpu_model", _TEXT, "GPU; null without one"),
    Column("gpu_uuid", _TEXT, "which GPU"),
    Column("driver", _TEXT, "GPU driver"),
    Column("cuda_version", _TEXT, "CUDA that torch was built with"),
    Column("cudnn_version", _TEXT, "cuDNN; null without a GPU"),
    Column("blas", _TEXT, "BLAS libraries of numpy, scipy and torch, with the kernels they chose"),
    Column("libc", _TEXT, "C library"),
    Column("determinism", _TEXT, "torch's switches as they stood during the measurement"),
    Column("math_settings", _TEXT, "environment variables that choose kernels"),
    Column("threads", _INT, "threads of a torch or BLAS call during the measurement"),
    Column("torch_version", _TEXT, "torch"),
    Column("numpy_version", _TEXT, "numpy"),
    Column("scipy_version", _TEXT, "scipy"),
    Column("python_version", _TEXT, "Python"),
    Column("slurm_job", _TEXT, "Slurm job; null without one"),
    Column("slurm_restart", _INT, "how often Slurm had requeued that job"),
    Column("task", _TEXT, "launch token and task"),
    Column("started_at", _TEXT, "when the run began, UTC"),
    Column("ended_at", _TEXT, "when it ended, UTC"),
    Column("seconds", _REAL, "wall time of the run in seconds"),
    Column("peak_memory_bytes", _INT, "peak resident memory of the process during the run"),
    Column("peak_gpu_memory_bytes", _INT, "peak memory that torch had allocated on the GPU; null without one"),
)

FISHER = (
    Column("run_id", _TEXT, "the run"),
    Column("step", _INT, "training step; 0 is initialisation"),
    Column("epoch", _REAL, "times through the training split until then; 0 at initialisation"),
    Column("block", _TEXT, "all: the whole matrix; else the layer whose diagonal block it is"),
    Column(
        "eigenvalues",
        _VALUES,
        "all that are not 0 by construction, largest first; lanczos' leading ones; null where only the summary was "
        "asked for",
    ),
    Column("lambda_max", _REAL, "largest eigenvalue"),
    Column("trace", _REAL, "trace"),
    Column("rank", _INT, "eigenvalues above R·ε·λ_max; null for lanczos"),
    Column("abs_error", _REAL, "bound of the absolute error of every eigenvalue; null for layers"),
    Column("errors", _VALUES, "of lanczos: bound of each eigenvalue's error; null for dual, where abs_error holds"),
    Column("density_nodes", _VALUES, "of lanczos with probes: places on the spectrum, largest first"),
    Column("density_counts", _VALUES, "estimated number of eigenvalues at or above each node"),
    Column("density_errors", _VALUES, "standard error of each count over the probes"),
)

JACOBIAN = (
    Column("run_id", _TEXT, "the run"),
    Column("step", _INT, "training step; 0 is initialisation"),
    Column("epoch", _REAL, "times through the training split until then; 0 at initialisation"),
    Column("sample", _INT, "which of the run's inputs"),
    Column("singular_values", _VALUES, "of ∂x^L/∂x^0, largest first"),
    Column(
        "log_singular_values",
        _VALUES,
        "their natural logarithms, exact where the values underflow; −inf for exact zeros",
    ),
)

LAYERS = (
    Column("run_id", _TEXT, "the run"),
    Column("step", _INT, "training step; 0 is initialisation"),
    Column("epoch", _REAL, "times through the training split until then; 0 at initialisation"),
    Column("layer", _INT, "1 … L, then the readout"),
    Column("block", _TEXT, "name of the layer"),
    Column("q", _REAL, "mean over inputs of |h^l|²/N_l"),
    Column("correlation", _REAL, "mean correlation of the pre-activations of distinct inputs"),
    Column("scale", _REAL, "the layer's non-negative scale in training; null where it has none"),
    Column("orthogonality_error", _REAL, "largest violation of its manifold's equations; null without a manifold"),
    Column("theory_q", _REAL, "q^l by mean field at initialisation, from the run's own inputs; null where it has none"),
    Column(
        "theory_correlation",
        _REAL,
        "c^l by mean field at initialisation, from the run's own inputs; null where it has none",
    ),
)

TRAINING = (
    Column("run_id", _TEXT, "the run"),
    Column("step", _INT, "optimizer steps done; 0 is initialisation"),
    Column("epoch", _REAL, "times through the training split"),
    *(Column(c.name, _VALUES if c.is_list else _REAL, c.meaning) for c in TRAINING_COLUMNS),
)


def schema_of(columns: tuple[Column, ...]) -> pa.Schema:
    """The Arrow schema of a table, each column's meaning in its metadata."""
    return pa.schema([pa.field(c.name, c.type, metadata={"meaning": c.meaning}) for c in columns])
