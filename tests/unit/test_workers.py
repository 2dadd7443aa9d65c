"""Workers share the work, tell what went wrong, and never outlive their parent."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from coffre.errors import DeadlineExceededError, RowSecurityError, WorkerFailedError
from coffre.workers import AHEAD, Message, WorkerPool, workers_for
from tests.support.waiting import soon

WORKER = """
import os, sys, time
from coffre.errors import RowSecurityError
from coffre.workers import serve

class Task:
    def __init__(self, setup):
        self.setup, self.done = setup, []
        if setup.get("refuse"):
            raise RowSecurityError("hidden rows", "Grant BYPASSRLS.")
    def run(self, item):
        if "sleep" in item:
            time.sleep(item["sleep"])
        if "die" in item:
            os.kill(os.getpid(), 9)
        if "exit" in item:
            os._exit(item["exit"])
        if "raise" in item:
            raise RowSecurityError("hidden rows", "Grant BYPASSRLS.")
        if "bug" in item:
            raise KeyError("bug")
        self.done.append(item["n"])
        return {"square": item["n"] ** 2, "pad": "x" * item.get("pad", 0), "pid": os.getpid()}
    def finish(self):
        return {"done": self.done, "name": self.setup["name"]}

sys.exit(serve(Task, sys.stdin, sys.stdout))
"""


def no_tick() -> None:
    return


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Callable[..., WorkerPool]]:
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    made: list[WorkerPool] = []

    def start(*setup: Message, tick: Callable[[], None] = no_tick) -> WorkerPool:
        made.append(WorkerPool([sys.executable, str(script)], setup or [{"name": "a"}, {"name": "b"}], tick))
        return made[-1]

    yield start
    for one in made:
        one.close()


def alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_every_item_is_done_once_and_each_worker_gives_its_last_answer(
    pool: Callable[..., WorkerPool],
) -> None:
    items = [{"n": number} for number in range(100)]
    with pool() as workers:
        answers = {item["n"]: answer["square"] for item, answer in workers.map(items)}
        last = workers.finish()
    assert answers == {number: number**2 for number in range(100)}
    assert sorted(answer["name"] for answer in last) == ["a", "b"]
    assert sorted(number for answer in last for number in answer["done"]) == list(range(100))
    assert all(answer["done"] for answer in last)


def test_a_worker_goes_on_with_short_items_while_its_parent_is_busy(pool: Callable[..., WorkerPool]) -> None:
    asked: list[int] = []

    def items() -> Iterator[Message]:
        for number in range(2_000):
            asked.append(number)
            yield {"n": number, "pad": 300}  # a pipe doesn't hold so many answers

    with pool() as workers:
        answers = workers.map(items(), is_short=lambda item: item["n"] >= 10)
        assert len(asked) == 2, "each worker gets the items that aren't short one by one"
        told = [(item["n"], answer["square"]) for item, answer in answers]
        last = workers.finish()
    assert sorted(told) == [(number, number**2) for number in range(2_000)]
    assert sorted(number for answer in last for number in answer["done"]) == list(range(2_000))

    with pool({"name": "a"}) as workers:
        asked.clear()
        workers.map(items(), is_short=lambda _: True)
        assert len(asked) == AHEAD


def test_short_items_are_shared_by_all_workers(pool: Callable[..., WorkerPool]) -> None:
    with pool() as workers:
        answers = workers.map(({"n": number, "pad": 1} for number in range(60)), is_short=lambda _: True)
        assert sum(1 for _ in answers) == 60
        assert all(answer["done"] for answer in workers.finish())


def test_an_error_among_short_items_is_told_after_the_answers_before_it(
    pool: Callable[..., WorkerPool],
) -> None:
    items = [{"n": 1}, {"n": 2}, {"n": 3, "raise": True}, {"n": 4}]
    with pool({"name": "a"}) as workers:
        answers = workers.map(items, is_short=lambda _: True)
        assert [next(answers)[0]["n"], next(answers)[0]["n"]] == [1, 2]
        with pytest.raises(RowSecurityError):
            next(answers)


def test_answers_may_be_larger_than_a_pipe(pool: Callable[..., WorkerPool]) -> None:
    with pool() as workers:
        answers = [answer for _, answer in workers.map([{"n": n, "pad": 300_000} for n in range(4)])]
    assert [len(answer["pad"]) for answer in answers] == [300_000] * 4


def test_fewer_items_than_workers_and_none_at_all_are_fine(pool: Callable[..., WorkerPool]) -> None:
    with pool() as workers:
        assert len(list(workers.map([{"n": 1}]))) == 1
        assert list(workers.map([])) == []
        assert len(workers.finish()) == 2


@pytest.mark.parametrize("setup", [{"name": "a", "refuse": True}, {"name": "a"}])
def test_an_error_keeps_its_class_message_and_advice(pool: Callable[..., WorkerPool], setup: Message) -> None:
    with pool(setup) as workers, pytest.raises(RowSecurityError, match="hidden rows") as caught:
        list(workers.map([{"n": 1, "raise": True}]))
    assert caught.value.hint == "Grant BYPASSRLS."


def test_a_defect_in_a_worker_is_an_error_too(pool: Callable[..., WorkerPool]) -> None:
    with pool() as workers, pytest.raises(Exception, match="unexpected KeyError"):
        list(workers.map([{"n": 1, "bug": True}]))


@pytest.mark.parametrize("end", [{"die": True}, {"exit": 0}, {"exit": 3}])
def test_a_worker_that_dies_is_noticed(pool: Callable[..., WorkerPool], end: Message) -> None:
    with pool() as workers, pytest.raises(WorkerFailedError, match="status"):
        list(workers.map([{"n": 1}, {"n": 2, **end}]))


def test_a_program_that_can_not_work_is_noticed() -> None:
    with (
        pytest.raises(WorkerFailedError),
        WorkerPool([sys.executable, "-c", ""], [{"name": "a"}], no_tick) as one,
    ):
        list(one.map([{"n": 1}]))


def test_what_the_tick_raises_ends_the_work(pool: Callable[..., WorkerPool]) -> None:
    def too_late() -> None:
        raise DeadlineExceededError("late")

    with pytest.raises(DeadlineExceededError), pool(tick=too_late) as workers:
        list(workers.map([{"n": 1, "sleep": 60}]))


def test_leaving_the_block_ends_all_workers_in_the_middle_of_their_work(
    pool: Callable[..., WorkerPool],
) -> None:
    with pool() as workers:
        pids = [answer["pid"] for _, answer in workers.map([{"n": 1}, {"n": 2}])]
        answers = workers.map([{"n": 3, "sleep": 60}, {"n": 4}, {"n": 5}])
        next(answers)
    assert not any(alive(pid) for pid in pids)


def test_a_worker_ends_with_its_parent_even_when_that_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys; from coffre.workers import WorkerPool\n"
            f"pool = WorkerPool([sys.executable, {str(script)!r}], [{{'name': 'a'}}], lambda: None)\n"
            "print(next(iter(pool.map([{'n': 1}])))[1]['pid'], flush=True)\n"
            "list(pool.map([{'n': 2, 'sleep': 600}]))",
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    assert alive(worker)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    soon(lambda: not alive(worker), "its end")


@pytest.mark.parametrize(
    ("size", "pieces", "number"), [(0, 0, 1), (16 << 20, 200, 1), ((16 << 20) + 1, 1, 2), (1, 201, 2)]
)
def test_little_work_gets_one_worker(size: int, pieces: int, number: int) -> None:
    assert workers_for(size, pieces) == number


def test_workers_start_without_what_they_do_not_need() -> None:
    """Their start is on the clock of every backup, proof and restore."""
    tasks = ("backup.task", "verify.read", "databases.postgresql.load", "databases.postgresql.readback")
    modules = ", ".join(f"coffre.{name}" for name in (*tasks, "databases.postgresql.late", "vault.store"))
    look = f"import sys, {modules}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    heavy = {"pydantic", "boto3", "botocore.session", "botocore.auth", "aws_lambda_powertools"}
    assert not heavy & set(loaded.stdout.split())
