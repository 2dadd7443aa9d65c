"""What went wrong where nobody waits for an answer, and the work that is still under way."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

_logger = logging.getLogger(__name__)
_SHOWN = 2000


@dataclass(frozen=True)
class Failure:
    """An asynchronous invocation or a delivery that failed for good.

    Attributes:
        time: ISO 8601, UTC.
        kind: ``invocation`` (all attempts failed) or ``delivery`` (a target could not be reached).
        target: name of the function, or ARN of the target.
        reason: the error, at most 2,000 characters.
        event: the event, at most 2,000 characters.
    """

    time: str
    kind: str
    target: str
    reason: str
    event: str

    def as_dict(self) -> dict[str, str]:
        """The same as a dictionary for JSON."""
        return asdict(self)


class Background:
    """Threads for asynchronous work, and the list of its failures."""

    def __init__(self) -> None:
        self._failures: list[Failure] = []
        self._under_way = 0
        self._changed = threading.Condition()

    @property
    def failures(self) -> list[Failure]:
        """All failures until now, oldest first."""
        with self._changed:
            return list(self._failures)

    @property
    def under_way(self) -> int:
        """Number of asynchronous pieces of work that are not finished."""
        return self._under_way

    def fail(self, kind: str, target: str, reason: str, event: bytes | str) -> None:
        """Record a failure and write it to the log."""
        text = event.decode(errors="replace") if isinstance(event, bytes) else event
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        failure = Failure(now, kind, target, reason[:_SHOWN], text[:_SHOWN])
        _logger.error("%s failed: %s: %s", kind, target, failure.reason)
        with self._changed:
            self._failures.append(failure)

    def run(self, target: str, event: bytes, work: Callable[[], None]) -> None:
        """Do work in a thread of its own; what it raises becomes a failure.

        A thread for each piece, because one that waits for a slow function must not keep others from theirs.
        """
        with self._changed:
            self._under_way += 1

        def run() -> None:
            try:
                work()
            except Exception as error:
                _logger.exception("delivery to %s", target)
                self.fail("delivery", target, repr(error), event)
            finally:
                with self._changed:
                    self._under_way -= 1
                    self._changed.notify_all()

        threading.Thread(target=run, daemon=True, name=f"async-{target}").start()

    def drain(self, timeout: float) -> bool:
        """Wait until no asynchronous work is under way.

        Args:
            timeout: seconds.

        Returns:
            Whether all was done in time.
        """
        end = time.monotonic() + timeout
        with self._changed:
            return self._changed.wait_for(lambda: not self._under_way, end - time.monotonic())
