"""The main job from end to end on one machine: ``python -m demo``, or ``make demo``."""
