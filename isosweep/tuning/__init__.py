"""Search: trials are sweeps of their own, launched like any other; what they find goes into the sweep file."""
