"""What every error is, and how one gets from one process to another."""

from __future__ import annotations

from typing import ClassVar

from coffre.readable import readable


class CoffreError(Exception):
    """Base of all errors of the product.

    Parameters
    ----------
    message:
        What happened, and to which database or object.  Never holds a secret.
    advice:
        What the reader can do next, as a sentence.  Defaults to the class's own advice.
    """

    code: ClassVar[str] = "internal"
    advice: ClassVar[str] = ""
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, advice: str | None = None) -> None:
        self.message = readable(message)
        self.hint = self.advice if advice is None else readable(advice)
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"[{self.code}] {self.message}. {self.hint}".rstrip(" ")


class BadInputError(CoffreError):
    """Base of the errors that mean: what was asked can't be done as it was asked; nothing was changed."""

    code = "bad-input"
    exit_code = 2


def error_classes() -> dict[str, type[CoffreError]]:
    """All error classes by name, as they appear in a failed function's ``errorType``."""
    found: dict[str, type[CoffreError]] = {}
    pending: list[type[CoffreError]] = [CoffreError]
    while pending:
        cls = pending.pop()
        found[cls.__name__] = cls
        pending.extend(cls.__subclasses__())
    return found


def describe(error: BaseException) -> dict[str, str]:
    """An error as plain values, for another process or the catalogue; see `revive`."""
    if isinstance(error, CoffreError):
        return {
            "type": type(error).__name__,
            "code": error.code,
            "message": error.message,
            "advice": error.hint,
        }
    return {
        "type": "CoffreError",
        "code": CoffreError.code,
        "message": readable(f"unexpected {type(error).__name__}: {error}"),
        "advice": "This is a defect of Coffre; the log holds the traceback.",
    }


def revive(description: dict[str, str]) -> CoffreError:
    """The error that `describe` described."""
    cls = error_classes().get(description["type"], CoffreError)
    return cls(description["message"], description["advice"])
