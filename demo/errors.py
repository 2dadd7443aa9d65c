"""How the demo fails."""


class DemoError(Exception):
    """A step didn't do what it says; the message tells which fact was expected and what was found."""
