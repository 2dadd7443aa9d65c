"""One run of a verb in a process of its own, as a function has one: ``python -m bench.product VERB``.

The order is JSON on standard input, the answer JSON on standard output.  Everything is the product's own but
the catalogue, the registry and the publisher, which take everything and know nothing.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

from coffre import wiring
from coffre.databases.postgresql.target import Source, Target
from coffre.databases.registration import Registration
from coffre.events.backup import BackupRequest
from coffre.events.restore import RestoreRequest
from coffre.events.verify import ProveRequest, VerifyRequest

SECONDS = 880.0
"""What a function has, at most."""


class Silent:
    """Takes every call and answers nothing."""

    def restores(self, _: str) -> Iterator[Any]:
        """No history."""
        return iter(())

    def plans(self, _: str) -> Silent:
        """Takes every plan."""
        return self

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_arguments, **_named: None


class Registered:
    """A registry in which every database is registered, and every backup is to be proven."""

    def get(self, name: str) -> Registration:
        """Whatever the name is."""
        del name
        return Registration(secret="-")


SILENT: Any = Silent()
REGISTERED: Any = Registered()


def backup(order: dict[str, Any]) -> dict[str, Any]:
    """Back up; the order holds ``database``, ``target`` and ``number``, which makes its time."""
    from coffre.backup import run

    services = dataclasses.replace(wiring.backup_services(), catalogue=SILENT, publisher=SILENT)
    moment = datetime.fromtimestamp(1_790_000_000 + order["number"], UTC)
    request = BackupRequest(type="manual", scheduled_time=moment, database=order["database"])
    target = Target(**order["target"])
    return run.run(request, Registration(secret="-"), Source(target), services, seconds=SECONDS).answer()


def verify(order: dict[str, Any]) -> dict[str, Any]:
    """Verify and prove the newest backup of ``database``."""
    from coffre.verify import run

    services = dataclasses.replace(
        wiring.verify_services(),
        catalogue=SILENT,
        publisher=SILENT,
        registry=REGISTERED,
        invoke_prove=_invoke_prove,
    )
    request = VerifyRequest(database=order["database"], backup_id="latest")
    return run.run(request, services, seconds=SECONDS).answer()


def prove(order: dict[str, Any]) -> dict[str, Any]:
    """Prove; the order is the function's event."""
    from coffre.prove import run

    return run.run(ProveRequest(**order), wiring.prove_services()).answer()


def restore(order: dict[str, Any]) -> dict[str, Any]:
    """Restore the newest backup of ``database`` to ``target``, which doesn't exist yet."""
    from coffre.restore import run

    services = dataclasses.replace(
        wiring.restore_services(), catalogue=SILENT, publisher=SILENT, registry=REGISTERED
    )
    target = Target(**order["target"])
    request = RestoreRequest(action="plan", database=order["database"], target_secret="-")
    token = run.plan(request, target, services, seconds=SECONDS).token
    confirmed = request.model_copy(update={"action": "run", "token": token})
    return run.run(confirmed, target, services, seconds=SECONDS).answer()


def _invoke_prove(event: dict[str, object], seconds: float) -> dict[str, object]:
    command = [sys.executable, "-m", "bench.product", "prove"]
    done = subprocess.run(
        command, input=json.dumps(event), stdout=subprocess.PIPE, text=True, timeout=seconds, check=True
    )
    answer: dict[str, object] = json.loads(done.stdout)["result"]
    return answer


VERBS = {"backup": backup, "verify": verify, "prove": prove, "restore": restore}


def main(verb: str) -> None:
    """Carry out the order; print the result, its seconds, and the processor's seconds of all processes."""
    importlib.import_module(f"coffre.{verb}.run")  # as Lambda does before the first event
    order = json.load(sys.stdin)
    started, used = time.perf_counter(), _processor_seconds()
    result = VERBS[verb](order)
    seconds = time.perf_counter() - started
    print(json.dumps({"result": result, "seconds": seconds, "cpu": _processor_seconds() - used}))


def _processor_seconds() -> float:
    """Of this process and of its children that have ended."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


if __name__ == "__main__":
    main(sys.argv[1])
