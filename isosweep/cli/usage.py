"""Wrong usage that is noticed after the options are parsed."""


class UsageProblem(Exception):
    """What the user asked for cannot be done as asked; exit code 2."""
