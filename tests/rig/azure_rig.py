#!/usr/bin/env python3
"""An Azure Blob Storage, as Azurite is one, for the end-to-end tests.

    azure_rig.py --tools <folder> --folder <folder> [--publish] [--tls <certificate> <key> <authority>]

1. starts Azurite on a free port of 127.0.0.1, with an account and a key of its own; with --tls it speaks TLS and takes
   tokens as well
2. makes a container, and makes sure that the server refuses what it should
3. with --publish, publishes the sites of make_site.py with `techdocs-cli publish`, and makes sure that they are there
4. prints one line of JSON, and serves until its stdin is closed or it is sent SIGTERM

Each line on stdin is an order: `kill` ends Azurite without warning, `start` starts it again on the same port with what
it held, `rekey <key>` does both with another key for the account.

techdocs-cli knows the public cloud only. It goes there through a proxy of the rig's, which takes it to Azurite instead:
the certificate has to be good for that name too.
"""

import argparse
import base64
import ctypes
import email.utils
import hashlib
import hmac
import json
import os
import pathlib
import re
import secrets
import signal
import socket
import socketserver
import ssl
import subprocess
import sys
import threading
import urllib.error
import urllib.parse
import urllib.request
from xml.etree import ElementTree

from s3_rig import HOST, SITES, TECHDOCS_CLI, built_sites, key_prefix, run

AZURITE = pathlib.Path("node_modules/azurite/dist/src/blob/main.js")
ACCOUNT = "techdocs"
CONTAINER = "techdocs-storage"
CLOUD = f"{ACCOUNT}.blob.core.windows.net"
PDEATHSIG = 1


def die_with_parent() -> None:
    """A rig that is killed takes Azurite along."""
    ctypes.CDLL(None).prctl(PDEATHSIG, signal.SIGKILL)


class Azurite:
    def __init__(self, program: pathlib.Path, folder: pathlib.Path, tls: list[str] | None) -> None:
        self.program, self.folder, self.tls = program, folder, tls
        self.key = base64.b64encode(secrets.token_bytes(32)).decode()
        self.port = 0
        self.context = ssl.create_default_context(cafile=tls[2]) if tls else None
        self.start()

    @property
    def origin(self) -> str:
        return f"{'https' if self.tls else 'http'}://{HOST}:{self.port}"

    def start(self) -> None:
        command = ["node", self.program, "--blobHost", HOST, "--blobPort", self.port, "--location", self.folder]
        command += ["--silent", "--skipApiVersionCheck", "--disableTelemetry"]
        if self.tls:
            command += ["--oauth", "basic", "--cert", self.tls[0], "--key", self.tls[1]]
        self.process = subprocess.Popen(
            [str(part) for part in command],
            env=os.environ | {"AZURITE_ACCOUNTS": f"{ACCOUNT}:{self.key}"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=die_with_parent,
        )
        said = []
        for line in self.process.stdout:
            said.append(line)
            if found := re.search(r"successfully listen\w* (?:at|on) https?://[\d.]+:(\d+)", line):
                self.port = int(found[1])
                threading.Thread(target=self.process.stdout.read, daemon=True).start()
                return
        sys.exit(f"azure_rig: Azurite ended before it listened:\n{''.join(said)}")

    def end(self, how: signal.Signals) -> None:
        self.process.send_signal(how)
        self.process.wait()

    def request(self, method: str, query: dict[str, str], key: str | None) -> tuple[int, bytes]:
        """Asks for something of the container, signed with the key."""
        date = email.utils.formatdate(usegmt=True)
        path = f"/{ACCOUNT}/{CONTAINER}"
        headers = {"x-ms-date": date, "x-ms-version": "2023-11-03"}
        if key:
            signed = "".join(f"{name}:{value}\n" for name, value in sorted(headers.items()))
            resource = f"/{ACCOUNT}{path}" + "".join(f"\n{name}:{value}" for name, value in sorted(query.items()))
            text = f"{method}{chr(10) * 12}{signed}{resource}"
            code = hmac.new(base64.b64decode(key), text.encode(), hashlib.sha256).digest()
            headers["Authorization"] = f"SharedKey {ACCOUNT}:{base64.b64encode(code).decode()}"
        url = f"{self.origin}{path}?{urllib.parse.urlencode(query)}"
        request = urllib.request.Request(url, method=method, headers=headers)
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=self.context)
        )
        try:
            with opener.open(request, timeout=30) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()


def make_container(azurite: Azurite) -> None:
    status, body = azurite.request("PUT", {"restype": "container"}, azurite.key)
    if status != 201:
        sys.exit(f"azure_rig: the container was answered {status}: {body.decode()}")


def check_refusals(azurite: Azurite) -> None:
    """A server that lets everybody in would make every test of credentials pass."""
    listing = {"restype": "container", "comp": "list"}
    forged = base64.b64encode(secrets.token_bytes(32)).decode()
    for what, key in {"a wrong signature": forged, "an unsigned request": None}.items():
        status, _ = azurite.request("GET", listing, key)
        # Where it takes tokens, it takes a wrong signature for a malformed one.
        if status not in (400, 403):
            sys.exit(f"azure_rig: {what} was answered {status}")


class ToAzurite(socketserver.BaseRequestHandler):
    """Takes whoever asks for a connection anywhere to Azurite."""

    def handle(self) -> None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            if not (more := self.request.recv(1)):
                return
            head += more
        if not head.startswith(f"CONNECT {CLOUD}:443 ".encode()):
            self.request.sendall(b"HTTP/1.1 403 Forbidden\r\n\r\n")
            return
        with socket.create_connection((HOST, self.server.azurite.port)) as inner:
            self.request.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            back = threading.Thread(target=carry, args=(inner, self.request), daemon=True)
            back.start()
            carry(self.request, inner)
            back.join()


def carry(source: socket.socket, target: socket.socket) -> None:
    try:
        while piece := source.recv(65536):
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass


class Proxy(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(self, azurite: Azurite) -> None:
        super().__init__((HOST, 0), ToAzurite)
        self.azurite = azurite
        threading.Thread(target=self.serve_forever, daemon=True).start()


def publish(azurite: Azurite, sites: dict[str, pathlib.Path]) -> None:
    with Proxy(azurite) as proxy:
        environment = {
            "HTTPS_PROXY": f"http://{HOST}:{proxy.server_address[1]}",
            "NO_PROXY": "",
            "NODE_EXTRA_CA_CERTS": azurite.tls[2],
        }
        for name, entity in SITES.items():
            run(
                [TECHDOCS_CLI, "publish", "--publisher-type", "azureBlobStorage", "--storage-name", CONTAINER]
                + ["--azureAccountName", ACCOUNT, "--azureAccountKey", azurite.key]
                + ["--entity", entity, "--directory", sites[name]],
                environment,
            )
        proxy.shutdown()
    check_names(azurite, sites)


def check_names(azurite: Azurite, sites: dict[str, pathlib.Path]) -> None:
    """techdocs-cli only logs some of its failures."""
    expected = {
        f"{key_prefix(name)}/{path.relative_to(site).as_posix()}"
        for name, site in sites.items()
        for path in site.rglob("*")
        if path.is_file()
    }
    _, body = azurite.request("GET", {"restype": "container", "comp": "list"}, azurite.key)
    present = {name.text for name in ElementTree.fromstring(body).iterfind("Blobs/Blob/Name")}
    if expected != present:
        sys.exit(f"azure_rig: the container's blobs are not the sites' files: {sorted(expected ^ present)[:20]}")


def obey(azurite: Azurite, order: list[str]) -> None:
    match order:
        case ["kill"]:
            azurite.end(signal.SIGKILL)
        case ["start"]:
            azurite.start()
        case ["rekey", key]:
            azurite.end(signal.SIGKILL)
            azurite.key = key
            azurite.start()
        case _:
            sys.exit(f"azure_rig: no such order: {order}")


def main() -> None:
    parser = argparse.ArgumentParser(description="An Azure Blob Storage for the end-to-end tests.")
    parser.add_argument("--tools", type=pathlib.Path, required=True, help="folder that tests/setup.sh fills")
    parser.add_argument("--folder", type=pathlib.Path, required=True, help="folder for what it holds")
    parser.add_argument("--tls", nargs=3, metavar=("certificate", "key", "authority"))
    parser.add_argument("--publish", action="store_true", help="publish the sites; needs --tls")
    arguments = parser.parse_args()
    program = arguments.tools.resolve() / "azurite" / AZURITE
    if not program.exists():
        sys.exit(f"azure_rig: {program} is missing: run tests/setup.sh")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    azurite = Azurite(program, arguments.folder, arguments.tls)
    make_container(azurite)
    check_refusals(azurite)
    ready = {"endpoint": f"{azurite.origin}/{ACCOUNT}", "account": ACCOUNT, "key": azurite.key}
    ready |= {"container": CONTAINER, "port": azurite.port}
    if arguments.publish:
        sites = built_sites(arguments.tools.resolve() / "sites")
        publish(azurite, sites)
        ready |= {"entity": key_prefix("large"), "site_dir": str(sites["large"])}
    # It writes down what it holds only now and then, and when it is ended in good order.
    azurite.end(signal.SIGTERM)
    azurite.start()
    print(json.dumps(ready), flush=True)
    for line in sys.stdin:
        obey(azurite, line.split())


if __name__ == "__main__":
    main()
