"""Worker processes: two of them do a function's heavy work, because threads would queue for Python's lock.

A worker is a plain child process that speaks lines of JSON over its standard streams.  Multiprocessing's
own pools need ``/dev/shm``, which Lambda has not; and a child that starts afresh inherits no connection, no
thread and no lock.  What a worker must know, credentials included, is its first line of input: nothing secret
stands in an argument list or an environment.
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, TextIO

from coffre.errors import CoffreError, WorkerFailedError, describe, disk_full_named, revive

Message = dict[str, Any]

WORKERS = 2
"""Of a function that has the memory, and so the processors, that the template gives it."""

ALONE_BYTES, ALONE_PIECES = 16 << 20, 200
"""What one worker has done before another has started, which takes half a second of a processor's time."""

AHEAD = 256
"""Short items that a worker has at a time: it goes on while its parent is busy, with a dump for example."""

TICK_SECONDS = 1.0
"""How often a waiting parent looks after its snapshot, its deadline and its progress report."""


ALLOCATOR = {
    "MALLOC_TRIM_THRESHOLD_": str(64 << 20),
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_ARENA_MAX": "1",
}
"""glibc gives freed megabytes back to the kernel, which clears them when they are asked for again: a tenth of
a worker's time.  A worker frees and takes the same few megabytes all the time, so it keeps them; once for all
of its threads.
Source: https://man7.org/linux/man-pages/man3/mallopt.3.html"""


def workers_for(size: int, pieces: int) -> int:
    """How many workers an amount of work is worth.

    Parameters
    ----------
    size:
        Bytes of COPY text, or on disk.
    pieces:
        Relations; each costs a round trip to the server.
    """
    return 1 if size <= ALONE_BYTES and pieces <= ALONE_PIECES else WORKERS


class Task(Protocol):
    """What a worker does, item by item."""

    def run(self, item: Message) -> Message:
        """Do one item; the answer goes back to the parent."""

    def finish(self) -> Message:
        """All items are done: flush, and give the last answer."""


class WorkerPool:
    """A few worker processes and the items they share.

    Use as a context manager: leaving it ends the processes, whatever happened.

    Parameters
    ----------
    command:
        The program to start, for example ``[sys.executable, "-m", "coffre.worker"]``.
    setup:
        One message for each worker: what it must know before its first item.
    tick:
        Called at least once a second while the pool waits.  What it raises ends the work.
    environment:
        Of the processes; by default this one's.
    """

    def __init__(
        self,
        command: Sequence[str],
        setup: Sequence[Message],
        tick: Callable[[], None],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._tick = tick
        self._workers: list[_Worker] = []
        try:
            for message in setup:
                self._workers.append(_Worker(command, message, environment))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def map(
        self, items: Iterable[Message], *, is_short: Callable[[Message], bool] = lambda _: False
    ) -> Iterator[tuple[Message, Message]]:
        """Give each item to the next free worker; yield (item, answer) in the order of completion.

        The first items are given out at once, the others as the answers are taken.

        Parameters
        ----------
        is_short:
            Whether an item is done so soon that its worker gets the next ones, too, and waits for none:
            `AHEAD` at most.

        Raises
        ------
        CoffreError
            What a worker raised, or `WorkerFailedError` if one died.
        """
        waiting = iter(items)
        busy: dict[_Worker, deque[Message]] = {}
        able = self._workers
        while able:  # by turns: nobody holds what another one waits for
            able = [worker for worker in able if self._assign(worker, waiting, busy, is_short)]
        return self._answers(waiting, busy, is_short)

    def _answers(
        self,
        waiting: Iterator[Message],
        busy: dict[_Worker, deque[Message]],
        is_short: Callable[[Message], bool],
    ) -> Iterator[tuple[Message, Message]]:
        while busy:
            for worker in self._answered(busy):
                item, answer = busy[worker].popleft(), worker.take()
                for _ in range(2):  # one for the one that is done, and one more ahead
                    self._assign(worker, waiting, busy, is_short)
                yield item, answer

    def finish(self) -> list[Message]:
        """Tell all workers that no more items come; their last answers."""
        for worker in self._workers:
            worker.send({"finish": True})
        pending = set(self._workers)
        answers = []
        while pending:
            for worker in self._answered(pending):
                pending.remove(worker)
                answers.append(worker.take())
        return answers

    def close(self) -> None:
        """End the processes."""
        for worker in self._workers:
            worker.kill()

    @staticmethod
    def _assign(
        worker: _Worker,
        waiting: Iterator[Message],
        busy: dict[_Worker, deque[Message]],
        is_short: Callable[[Message], bool],
    ) -> bool:
        """Give a worker one more item, if it may have one and there is one; whether it got one."""
        held = busy.pop(worker, deque())
        item = next(waiting, None) if not held or (len(held) < AHEAD and is_short(held[-1])) else None
        if item is not None:
            worker.send(item)
            held.append(item)
        if held:
            busy[worker] = held
        return item is not None

    def _answered(self, pending: Collection[_Worker]) -> list[_Worker]:
        """Wait until at least one of the workers has answered."""
        answered = [worker for worker in pending if worker.has_answered]
        if answered:
            return answered
        with selectors.PollSelector() as selector:  # epoll would be made anew for each answer
            for worker in pending:
                selector.register(worker.output, selectors.EVENT_READ, worker)
            while True:
                ready = [key.data for key, _ in selector.select(TICK_SECONDS)]
                self._tick()
                answered = [worker for worker in ready if worker.receive()]
                if answered:
                    return answered


def worker_pool(
    setup: Sequence[Message], tick: Callable[[], None], environment: Mapping[str, str]
) -> WorkerPool:
    """Worker processes as they are, in this environment.

    They are told where this process finds its modules: looking for that (Python's ``site``) takes up to a
    tenth of their start.
    """
    path = os.pathsep.join([str(Path(__file__).parents[1]), *filter(None, sys.path)])
    return WorkerPool(
        [sys.executable, "-S", "-m", "coffre.worker"],
        setup,
        tick,
        environment={**ALLOCATOR, **environment, "PYTHONPATH": path},
    )


class _Worker:
    """One child process."""

    def __init__(self, command: Sequence[str], setup: Message, environment: Mapping[str, str] | None) -> None:
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
        )
        assert self._process.stdin is not None  # noqa: S101 - what PIPE promises
        assert self._process.stdout is not None  # noqa: S101
        self._input = self._process.stdin
        self.output = self._process.stdout
        self._received = b""
        self.send(setup)

    def send(self, message: Message) -> None:
        try:
            self._input.write(json.dumps(message).encode() + b"\n")
            self._input.flush()
        except OSError as error:
            raise self._death() from error

    def receive(self) -> bool:
        """Read what is there; True when a whole answer is."""
        block = os.read(self.output.fileno(), 1 << 16)
        if not block:
            raise self._death()
        self._received += block
        return self.has_answered

    @property
    def has_answered(self) -> bool:
        """Whether an answer is here that wasn't taken."""
        return b"\n" in self._received

    def take(self) -> Message:
        line, _, self._received = self._received.partition(b"\n")
        answer: Message = json.loads(line)
        if "error" in answer:
            raise revive(answer["error"])
        return answer

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self._input.close()
        self.output.close()

    def _death(self) -> WorkerFailedError:
        self._process.kill()
        return WorkerFailedError(f"a worker process ended with status {self._process.wait()}")


def serve(make_task: Callable[[Message], Task], source: TextIO, answers: TextIO) -> int:
    """The worker's side: read the setup, then items, and answer each.

    A parent that dies closes the pipe; a thread sees that at once and ends the process, so that no session
    with a database outlives its function.

    Returns
    -------
    int
        The exit status: 1 after an error, which the parent was told.
    """
    lines = _Lines(source)
    try:
        with disk_full_named():
            task = make_task(lines.take())
            while True:
                item = lines.take()
                last = "finish" in item
                answer = task.finish() if last else task.run(item)
                print(json.dumps(answer), file=answers, flush=True)
                if last:
                    return 0
    except Exception as error:
        if not isinstance(error, CoffreError):
            sys.excepthook(*sys.exc_info())
        print(json.dumps({"error": describe(error)}), file=answers, flush=True)
        return 1


class _Lines:
    """Input lines, read ahead by a thread that ends the process when the parent is gone."""

    def __init__(self, source: TextIO) -> None:
        self._source = source
        self._ready = threading.Condition()
        self._held: list[Message] = []
        threading.Thread(target=self._read, daemon=True).start()

    def take(self) -> Message:
        with self._ready:
            self._ready.wait_for(lambda: bool(self._held))
            return self._held.pop(0)

    def _read(self) -> None:
        for line in self._source:
            with self._ready:
                self._held.append(json.loads(line))
                self._ready.notify()
        os._exit(1)
