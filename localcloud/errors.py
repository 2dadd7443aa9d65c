"""The errors of the local cloud."""


class LocalCloudError(Exception):
    """Something that the person at the keyboard can put right; its text says what."""


class TemplateError(LocalCloudError):
    """The template can't be read, translated or deployed."""


class LayerError(LocalCloudError):
    """A layer's folder can't be mounted under ``/opt``."""


class UnknownScheduleError(LocalCloudError):
    """No schedule of that name is in the template."""
