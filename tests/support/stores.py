"""Object stores to hold the library's contract against, each a process (or a few) on this machine.

``local`` is the local cloud.  The others come from PyPI into virtual environments of their own, below
``.coffre/stores``, because what they need doesn't go together with what Coffre needs.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

import localcloud

ENVIRONMENTS = Path(__file__).parents[2] / ".coffre" / "stores"
START_SECONDS = 60
REGION = "us-east-1"

SWIFT = ["swift==2.38.3"]
# The last LocalStack that runs on Python 3.11; it imports a module that cbor2 5.8 has renamed.
LOCALSTACK = ["localstack-core[base-runtime]==4.11.1", "cbor2==5.7.1"]


@dataclass(frozen=True)
class Endpoint:
    """A running store and the credentials that it accepts."""

    name: str
    url: str
    key: str
    secret: str

    @cached_property
    def s3(self) -> Any:
        """A client for whatever isn't about the client; making one takes its time."""
        return self.client()

    def client(self, **changes: Any) -> Any:
        """A boto3 S3 client as the functions' is, but for what ``changes`` says of its connection."""
        make: Any = boto3.client
        config = Config(
            retries={"mode": "standard", "max_attempts": 2},
            connect_timeout=5,
            read_timeout=changes.pop("read_timeout", 60),
            max_pool_connections=32,
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        settings = {
            "endpoint_url": self.url,
            "region_name": REGION,
            "aws_access_key_id": self.key,
            "aws_secret_access_key": self.secret,
            **changes,
        }
        return make("s3", config=config, **settings)


@contextmanager
def local(folder: Path) -> Iterator[Endpoint]:
    """The S3 of the local cloud."""
    template = folder / "template.yaml"
    template.write_text("Resources: {Bucket: {Type: 'AWS::S3::Bucket'}}")
    info = localcloud.start_detached(template, folder / "state")
    try:
        yield Endpoint("local", str(info["endpoint"]), "local", "local")
    finally:
        localcloud.down(folder / "state")


_LOCALSTACK_SERVER = """
import sys
from localstack.aws.app import LocalstackAwsGateway
from localstack.aws.serving.werkzeug import serve
from localstack.services.plugins import SERVICE_PLUGINS
serve(LocalstackAwsGateway(SERVICE_PLUGINS), "127.0.0.1", int(sys.argv[1]), use_reloader=False)
"""


@contextmanager
def localstack(folder: Path) -> Iterator[Endpoint]:
    """LocalStack's S3, without the container that LocalStack comes in."""
    programs = environment("localstack", LOCALSTACK)
    (port,) = free_ports(1)
    settings = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "SERVICES": "s3",
        "DISABLE_EVENTS": "1",
        "SKIP_SSL_CERT_DOWNLOAD": "1",
        "S3_SKIP_SIGNATURE_VALIDATION": "0",
        "GATEWAY_LISTEN": f"127.0.0.1:{port}",
    }
    command = [str(programs / "python"), "-c", _LOCALSTACK_SERVER, str(port)]
    with running(command, folder / "localstack.log", settings):
        url = f"http://127.0.0.1:{port}"
        wait_for(url, folder)
        yield Endpoint("localstack", url, "test", "test")


_SWIFT_SETTINGS = """
[swift-hash]
swift_hash_path_prefix = tests
swift_hash_path_suffix = tests
[storage-policy:0]
name = single
default = yes
"""

_SWIFT_SERVER = """
[DEFAULT]
swift_dir = {folder}
devices = {folder}/devices
mount_check = false
disable_fallocate = true
recon_cache_path = {folder}
bind_ip = 127.0.0.1
bind_port = {port}
workers = 0
[pipeline:main]
pipeline = {kind}-server
[app:{kind}-server]
use = egg:swift#{kind}
"""

_SWIFT_PROXY = """
[DEFAULT]
swift_dir = {folder}
bind_ip = 127.0.0.1
bind_port = {port}
workers = 0
[pipeline:main]
pipeline = catch_errors gatekeeper healthcheck cache listing_formats
    s3api tempauth slo versions symlink proxy-server
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:healthcheck]
use = egg:swift#healthcheck
[filter:cache]
use = egg:swift#memcache
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:s3api]
use = egg:swift#s3api
location = {region}
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = testing .admin
[filter:symlink]
use = egg:swift#symlink
[filter:slo]
use = egg:swift#slo
[filter:versions]
use = egg:swift#versioned_writes
allow_object_versioning = true
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
"""


@contextmanager
def swift(folder: Path) -> Iterator[Endpoint]:
    """OpenStack Swift behind its S3 middleware: one server of each kind, one copy, one disk."""
    programs = environment("swift", SWIFT)
    proxy, *ports = free_ports(4)
    (folder / "devices" / "disk").mkdir(parents=True)
    (folder / "swift.conf").write_text(_SWIFT_SETTINGS)
    (folder / "proxy.conf").write_text(_SWIFT_PROXY.format(folder=folder, port=proxy, region=REGION))
    with ExitStack() as servers:
        for kind, port in zip(("account", "container", "object"), ports, strict=True):
            text = _SWIFT_SERVER.format(folder=folder, port=port, kind=kind)
            (folder / f"{kind}.conf").write_text(text)
            _make_ring(programs / "swift-ring-builder", folder, kind, port)
            servers.enter_context(_swift_server(programs, folder, kind))
        servers.enter_context(_swift_server(programs, folder, "proxy"))
        url = f"http://127.0.0.1:{proxy}"
        wait_for(f"{url}/healthcheck", folder)
        yield Endpoint("swift", url, "test:tester", "testing")


def _swift_server(programs: Path, folder: Path, kind: str) -> AbstractContextManager[None]:
    command = [str(programs / f"swift-{kind}-server"), str(folder / f"{kind}.conf")]
    return running(command, folder / f"{kind}.log", {"PATH": os.environ["PATH"], "HOME": str(folder)})


def _make_ring(builder: Path, folder: Path, kind: str, port: int) -> None:
    """Where Swift finds the one device of a kind."""
    for words in (["create", "2", "1", "0"], ["add", f"r1z1-127.0.0.1:{port}/disk", "1"], ["rebalance"]):
        command = [str(builder), f"{kind}.builder", *words]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)


STORES: dict[str, Callable[[Path], AbstractContextManager[Endpoint]]] = {
    "local": local,
    "localstack": localstack,
    "swift": swift,
}


def environment(name: str, requirements: Sequence[str]) -> Path:
    """The programs of a virtual environment with these packages, which is made if it isn't there."""
    folder = ENVIRONMENTS / name
    stamp, wanted = folder / "installed.txt", "\n".join(requirements)
    if not stamp.exists() or stamp.read_text() != wanted:
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        install = [str(folder / "bin" / "python"), "-m", "pip", "install", "-qq", *requirements]
        subprocess.run([*install, "--disable-pip-version-check"], check=True)
        stamp.write_text(wanted)
    return folder / "bin"


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens on."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [int(one.getsockname()[1]) for one in sockets]


@contextmanager
def running(command: Sequence[str], log: Path, settings: dict[str, str]) -> Iterator[None]:
    """A process that runs while the block does."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=settings)
    try:
        yield
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()
        process.wait()


def wait_for(url: str, folder: Path) -> None:
    """Wait until a server answers anything at all."""
    end = time.monotonic() + START_SECONDS
    while True:
        try:
            urllib.request.urlopen(url, timeout=START_SECONDS).close()  # noqa: S310 - a URL of this module's
        except urllib.error.HTTPError:
            return
        except OSError as error:
            if time.monotonic() > end:
                logs = "\n".join(log.read_text(errors="replace")[-2000:] for log in folder.glob("*.log"))
                raise RuntimeError(f"{url} doesn't answer: {error}\n{logs}") from error
            time.sleep(0.1)
        else:
            return
