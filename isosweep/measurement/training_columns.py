"""The columns of the training curve: what a `TrainingPoint` may hold, in records and in the table `training`."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["TRAINING_COLUMNS", "TrainingColumn"]


class TrainingColumn(NamedTuple):
    """A column: its name, whether it holds a list of numbers at each step, and its meaning."""

    name: str
    is_list: bool
    meaning: str


_ON = "on the inputs measured on (the Fisher's), by the network in the measurement's dtype"

# A column that was not measured at a step is null there.
TRAINING_COLUMNS = (
    TrainingColumn("current_learning_rate", False, "learning_rate times the schedule's factor, of the step to come"),
    TrainingColumn(
        "batch_loss", False, "mean loss of the minibatches of the epoch that ends here, each before its step"
    ),
    TrainingColumn("batch_accuracy", False, "share of right answers in them"),
    TrainingColumn("batch_gradient_norm", False, "mean over them of |∂loss/∂θ|, before clipping"),
    TrainingColumn("train_loss", False, "loss on the training split; at measured points"),
    TrainingColumn("train_accuracy", False, "share of right answers on the training split; at measured points"),
    TrainingColumn("validation_loss", False, "loss on the validation split"),
    TrainingColumn("validation_accuracy", False, "share of right answers on the validation split"),
    TrainingColumn("test_loss", False, "loss on the test split"),
    TrainingColumn("test_accuracy", False, "share of right answers on the test split"),
    TrainingColumn("measured_loss", False, f"loss {_ON}"),
    TrainingColumn("gradient_norm", False, f"|∂loss/∂θ| {_ON}"),
    TrainingColumn("fisher_lambda_max", False, "largest eigenvalue of the Fisher information matrix"),
    TrainingColumn("fisher_condition_number", False, "λ_max over the smallest eigenvalue that counts towards the rank"),
    TrainingColumn("jacobian_s_max", False, "largest singular value of ∂x^L/∂x^0 over the samples"),
    TrainingColumn("stability_threshold", False, "2/current_learning_rate, the edge of stability of gradient descent"),
    TrainingColumn("hessian_lambda_max", False, f"largest eigenvalue of the loss's Hessian {_ON}"),
    TrainingColumn("hessian_eigenvalues", True, "its leading eigenvalues, the algebraically largest first"),
    TrainingColumn("hessian_errors", True, "bound of each one's distance to an eigenvalue (Lanczos residual)"),
    TrainingColumn("kernel_drift", False, "‖K_t − K_0‖/‖K_0‖ of the tangent kernel, Frobenius norm"),
    TrainingColumn(
        "kernel_alignment", False, "alignment of the tangent kernel, summed over outputs, with [y_i = y_j] − 1/C"
    ),
    TrainingColumn("orthogonality_error", False, "largest violation of the manifold's equations by a hidden layer"),
    TrainingColumn("orthogonality_penalty_value", False, "(ω/2) Σ_l ‖X_l X_lᵀ − I‖²"),
    TrainingColumn("smoothness", False, f"|g' − g|/|θ' − θ| of the step from here, g the gradient {_ON}"),
    TrainingColumn("smoothness_gradient_norm", False, "|g| there"),
    TrainingColumn(
        "smoothness_quantiles", True, "quantiles 5, 25, 50, 75, 95 % over coordinates j of |g'_j − g_j|/|θ' − θ|"
    ),
    TrainingColumn("smoothness_l0", False, "L0 of smoothness ≈ L0 + L1·|g|, fitted to all steps until here"),
    TrainingColumn("smoothness_l1", False, "L1 of that fit"),
    TrainingColumn("smoothness_l0_quantiles", True, "the same quantiles of the coordinates' own L0"),
    TrainingColumn(
        "smoothness_l1_quantiles", True, "the same quantiles of the coordinates' own L1, |g_j| in place of |g|"
    ),
)
