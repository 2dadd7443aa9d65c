"""``python -m demo``: exit code 0 only if every step did what it says."""

from __future__ import annotations

import io
import signal
import sys
from types import FrameType

import pg8000.exceptions

from coffre.errors import CoffreError
from demo.errors import DemoError
from demo.show import Show
from demo.story import tell
from demo.summary import summary
from demo.world import make_world
from localcloud import LocalCloudError

INTERRUPTED = 130
_FAULTS = (DemoError, CoffreError, LocalCloudError, pg8000.exceptions.Error, OSError)


def main() -> int:
    """Tell the story on standard output.

    Returns
    -------
    int
        0 if all went well, 1 if a step failed, 130 after Ctrl-C or SIGTERM.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace", line_buffering=True)
    signal.signal(signal.SIGTERM, _interrupt)
    show = Show()
    try:
        with make_world() as world:
            facts = tell(world, show)
    except KeyboardInterrupt:
        show.failed("interrupted; everything that ran is stopped and removed")
        return INTERRUPTED
    except _FAULTS as error:
        show.failed(str(error))
        return 1
    show.summary(summary(facts, show.seconds))
    return 0


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


sys.exit(main())
