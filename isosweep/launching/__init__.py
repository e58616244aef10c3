"""Deciding what is to be done: cost, plan, which runs are free, which tasks are dead; and the launcher."""
