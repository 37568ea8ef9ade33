"""Keystone's and Swift's servers, each in a process of its own on a port of 127.0.0.1: swift_rig.py starts them."""

import base64
import contextlib
import os
import pathlib
import random
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time

import requests

HERE = pathlib.Path(__file__).resolve().parent
BIN = pathlib.Path(sys.executable).parent

HOST = "127.0.0.1"
READY_WITHIN = 60

# A program that is killed and started again must find its port free, which no other program's outgoing connection takes
# from below the range for those.
PORTS = range(20000, 32000)


def fail(what: str) -> None:
    sys.exit(f"swift_rig: {what}")


def free_port(taken: set[int]) -> int:
    while True:
        port = random.choice(PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((HOST, port))
            if port not in taken:
                taken.add(port)
                return port


class Undertaker:
    """A process that outlives the rig, however that ends, to kill its servers and to remove their folder."""

    def __init__(self, folder: pathlib.Path):
        read, self.write = os.pipe()
        if os.fork() == 0:
            os.close(self.write)
            self.wait_and_bury(read, folder)
        os.close(read)

    def tell(self, group: int, is_alive: bool) -> None:
        os.write(self.write, f"{group} {is_alive:d}\n".encode())

    @staticmethod
    def wait_and_bury(read: int, folder: pathlib.Path) -> None:
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDWR)
        for stream in range(3):
            os.dup2(nothing, stream)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        # The other end is closed by the rig's death.
        with os.fdopen(read) as lines:
            groups = dict(line.split() for line in lines)
        for group in [group for group, is_alive in groups.items() if is_alive == "1"]:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(int(group), signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)
        os._exit(0)


class Process:
    """A server in a process of its own that can be killed and started again."""

    def __init__(self, folder: pathlib.Path, name: str, port: int, command: list, path: str, undertaker: Undertaker):
        self.name, self.port, self.path, self.undertaker = name, port, path, undertaker
        self.command = [str(part) for part in command]
        self.log = folder / f"{name}.out"
        self.process = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self.undertaker.tell(self.process.pid, True)

    def wait_until_ready(self) -> None:
        patience = time.monotonic() + READY_WITHIN
        while time.monotonic() < patience:
            if self.process.poll() is not None:
                break
            with contextlib.suppress(requests.RequestException):
                if requests.get(f"http://{HOST}:{self.port}{self.path}", timeout=5).status_code < 500:
                    return
            time.sleep(0.02)
        fail(f"{self.name} does not start:\n{self.log.read_text(errors='replace')[-4000:]}")

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.undertaker.tell(self.process.pid, False)
        self.process.wait()


def keystone(folder: pathlib.Path, port: int, undertaker: Undertaker) -> Process:
    keys = folder / "fernet"
    keys.mkdir(mode=0o700)
    for index in range(2):
        (keys / str(index)).write_bytes(base64.urlsafe_b64encode(os.urandom(32)))
    configure_keystone(folder, 3600)
    config = folder / "keystone.conf"
    return Process(folder, "keystone", port, [sys.executable, __file__, config, port], "/v3", undertaker)


def configure_keystone(folder: pathlib.Path, token_seconds: int) -> None:
    (folder / "keystone.conf").write_text(f"""
[DEFAULT]
log_file = {folder}/keystone.log
[database]
connection = sqlite:///{folder}/keystone.db
[fernet_tokens]
key_repository = {folder}/fernet
[fernet_receipts]
# Never issued, but without a place of its own for their keys Keystone wants one in /etc.
key_repository = {folder}/fernet
[identity]
# The fewest: these passwords are random and live as long as the rig.
password_hash_rounds = 4
[token]
expiration = {token_seconds}
""")


def prepare_keystone(folder: pathlib.Path, url: str, region: str, password: str) -> None:
    manage = [BIN / "keystone-manage", "--config-file", folder / "keystone.conf"]
    run([*manage, "db_sync"])
    run([*manage, "bootstrap", "--bootstrap-password", password]
        + ["--bootstrap-public-url", url, "--bootstrap-region-id", region])


def serve_keystone(config: str, port: str) -> None:
    from keystone.server.flask import core
    from werkzeug.serving import make_server

    # Keystone reads the command line, which is not its own.
    del sys.argv[1:]
    application = core.initialize_application(name="public", config_files=[config])
    make_server(HOST, int(port), application, threaded=True).serve_forever()


def swift(
    folder: pathlib.Path, ports: dict[str, int], keystone_url: str, password: str, undertaker: Undertaker
) -> list[Process]:
    (folder / "devices" / "d1").mkdir(parents=True)
    (folder / "swift.conf").write_text(f"[swift-hash]\nswift_hash_path_prefix = {secrets.token_hex(8)}\n")
    make_rings(folder, ports)
    common = f"""[DEFAULT]
bind_ip = {HOST}
swift_dir = {folder}
user = {os.environ.get("USER") or "root"}
workers = 0
disable_fallocate = true
fallocate_reserve = 0
devices = {folder}/devices
mount_check = false
"""
    configs = {
        name: f"""{common}bind_port = {ports[name]}
[pipeline:main]
pipeline = {name}-server
[app:{name}-server]
use = egg:swift#{name}
"""
        for name in ["account", "container", "object"]
    }
    configs["proxy"] = f"""{common}bind_port = {ports["proxy"]}
[pipeline:main]
pipeline = catch_errors gatekeeper healthcheck proxy-logging authtoken keystoneauth slo dlo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
# A container that was just made is looked for, not remembered as missing.
recheck_account_existence = 1
recheck_container_existence = 1
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:healthcheck]
use = egg:swift#healthcheck
[filter:proxy-logging]
use = egg:swift#proxy_logging
[filter:slo]
use = egg:swift#slo
[filter:dlo]
use = egg:swift#dlo
[filter:keystoneauth]
use = egg:swift#keystoneauth
operator_roles = member
[filter:authtoken]
paste.filter_factory = keystonemiddleware.auth_token:filter_factory
www_authenticate_uri = {keystone_url}
auth_url = {keystone_url}
interface = public
auth_type = password
username = swift
password = {password}
project_name = service
user_domain_id = default
project_domain_id = default
delay_auth_decision = true
include_service_catalog = false
# A token that is revoked is refused soon.
token_cache_time = 3
"""
    for name, text in configs.items():
        (folder / f"{name}.conf").write_text(text)
    return [
        Process(folder, "swift" if name == "proxy" else name, ports[name],
                [BIN / f"swift-{name}-server", folder / f"{name}.conf", "-v"], "/healthcheck", undertaker)
        for name in configs
    ]


def make_rings(folder: pathlib.Path, ports: dict[str, int]) -> None:
    from swift.common import utils

    # Rings are not made without the installation's secret.
    utils.set_swift_dir(str(folder))
    from swift.common.ring import RingBuilder

    for name in ["account", "container", "object"]:
        # A few partitions of one replica: there is one device.
        builder = RingBuilder(4, 1, 0)
        builder.add_dev({"region": 1, "zone": 1, "ip": HOST, "port": ports[name], "device": "d1", "weight": 1})
        builder.rebalance()
        builder.get_ring().save(str(folder / f"{name}.ring.gz"))


def run(command: list, environment: dict[str, str] | None = None) -> str:
    """Runs a program to its end, and ends it and its children when this one has to go."""
    process = subprocess.Popen(
        [str(part) for part in command],
        env=os.environ | (environment or {}),
        cwd=HERE,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        output, errors = process.communicate()
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    if process.returncode != 0:
        fail(f"{command[0]} ended with {process.returncode}:\n{(output + errors).decode(errors='replace')}")
    return output.decode()


# The process of Keystone.
if __name__ == "__main__":
    serve_keystone(*sys.argv[1:])
