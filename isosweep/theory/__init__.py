"""What theory predicts for wide networks: signal propagation, the Jacobian's spectrum, the Fisher information. numpy
and scipy only.

Import the module of the idea: `theory.critical_line`, `theory.mean_field`, `theory.karakida`, `theory.predict`; nothing
is loaded here, so that the sweep parser pays for the critical line alone.
"""
