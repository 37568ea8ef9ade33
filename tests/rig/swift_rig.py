#!/usr/bin/env python3
"""OpenStack's Keystone and Swift, for the tests of that store.

    swift_rig.py [--publish] [--token-seconds <n>]

1. starts Swift's proxy, account, container and object servers, with one device in a folder of its own
2. starts Keystone on SQLite, with Fernet tokens
3. makes a project, a user who may write and one who may only read, an application credential for each, and a catalog
   that has Swift in one region and nothing in another
4. makes the container, and lets the reader read it
5. with --publish, publishes the sites that s3_rig.py builds with `techdocs-cli publish`, as the writer
6. makes sure that the servers refuse what they should, and that the container holds what was built
7. prints one line of JSON, and serves until its stdin is closed or it is sent SIGTERM

All of it is on 127.0.0.1. While it serves, tests tell it what to do through POST requests to `control`:

    /kill/<server>, /start/<server>    `swift` (its proxy) or `keystone`; it comes back on its port
    /credential/<user>                 one more application credential for `reader` or `writer`, as JSON
    /revoke/<user>/<id>                takes an application credential away

Run it with the Python of target/test-tools/openstack, which tests/setup.sh makes. Secrets are made at every start and
good for these servers alone.
"""

import argparse
import hashlib
import json
import os
import pathlib
import secrets
import signal
import sys
import tempfile
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import requests

from openstack_servers import HOST, Process, Undertaker, configure_keystone, fail, free_port
from openstack_servers import keystone, prepare_keystone, run, swift

HERE = pathlib.Path(__file__).resolve().parent
TECHDOCS_CLI = HERE.parent / "backstage" / "node_modules" / ".bin" / "techdocs-cli"
TOOLS = HERE.parent.parent / "target" / "test-tools"

CONTAINER = "techdocs-storage"
REGION = "north"
OTHER_REGION = "south"


# --- who may do what --------------------------------------------------------------------------------------------------


class Identity:
    """Keystone, as its administrator."""

    def __init__(self, url: str, password: str):
        self.url = url
        self.token = self.login("admin", password, "admin")

    def login(self, user: str, password: str, project: str) -> str:
        domain = {"id": "default"}
        answer = requests.post(f"{self.url}/auth/tokens", timeout=30, json={"auth": {
            "identity": {"methods": ["password"],
                         "password": {"user": {"name": user, "password": password, "domain": domain}}},
            "scope": {"project": {"name": project, "domain": domain}},
        }})
        if answer.status_code != 201:
            fail(f"Keystone answered {answer.status_code} to {user}: {answer.text}")
        return answer.headers["X-Subject-Token"]

    def ask(self, method: str, path: str, body: dict | None = None, token: str | None = None) -> dict:
        headers = {"X-Auth-Token": token or self.token}
        answer = requests.request(method, f"{self.url}{path}", json=body, headers=headers, timeout=30)
        if not answer.ok:
            fail(f"Keystone answered {answer.status_code} to {method} {path}: {answer.text}")
        return answer.json() if answer.content else {}

    def make(self, kind: str, **properties) -> str:
        return self.ask("POST", f"/{kind}s", {kind: properties})[kind]["id"]

    def make_user(self, name: str, password: str, project: str, role: str) -> str:
        user = self.make("user", name=name, password=password, domain_id="default")
        roles = self.ask("GET", f"/roles?name={role}")["roles"]
        self.ask("PUT", f"/projects/{project}/users/{user}/roles/{roles[0]['id']}")
        return user

    def make_catalog(self, url: str) -> None:
        service = self.make("service", type="object-store", name="swift")
        self.make("region", id=OTHER_REGION)
        for region, interface, address in [
            (OTHER_REGION, "public", f"http://{HOST}:1/nothing"),
            (REGION, "internal", f"http://{HOST}:1/internal"),
            (REGION, "public", f"{url}/v1/AUTH_%(tenant_id)s"),
        ]:
            self.make("endpoint", service_id=service, interface=interface, region_id=region, url=address)


class Users:
    """Who reads and who writes, and their application credentials."""

    PROJECT = "docs"

    def __init__(self, identity: Identity):
        self.identity = identity
        self.project = identity.make("project", name=self.PROJECT, domain_id="default")
        self.passwords = {name: secrets.token_hex(16) for name in ["reader", "writer"]}
        self.ids = {
            name: identity.make_user(name, self.passwords[name], self.project, role)
            for name, role in [("reader", "reader"), ("writer", "member")]
        }

    def token(self, name: str) -> str:
        return self.identity.login(name, self.passwords[name], self.PROJECT)

    def credential(self, name: str) -> dict[str, str]:
        made = self.identity.ask(
            "POST",
            f"/users/{self.ids[name]}/application_credentials",
            {"application_credential": {"name": secrets.token_hex(8)}},
            self.token(name),
        )["application_credential"]
        return {"id": made["id"], "secret": made["secret"]}

    def revoke(self, name: str, credential: str) -> None:
        path = f"/users/{self.ids[name]}/application_credentials/{credential}"
        self.identity.ask("DELETE", path, token=self.token(name))


# --- storage ----------------------------------------------------------------------------------------------------------


def ask_swift(method: str, url: str, token: str, **more) -> requests.Response:
    headers = {"X-Auth-Token": token} | more.pop("headers", {})
    return requests.request(method, url, headers=headers, timeout=30, **more)


def make_container(account: str, users: Users) -> None:
    headers = {"X-Container-Read": f"{users.project}:{users.ids['reader']}"}
    answer = ask_swift("PUT", f"{account}/{CONTAINER}", users.token("writer"), headers=headers)
    if answer.status_code not in (201, 202):
        fail(f"Swift answered {answer.status_code} when the container was to be made: {answer.text}")


def built_sites() -> dict[str, dict[str, str]]:
    """The sites that s3_rig.py builds, or has built before, by name."""
    python = TOOLS / "venv" / "bin" / "python"
    code = (
        "import json, pathlib, sys, s3_rig; folders = s3_rig.built_sites(pathlib.Path(sys.argv[1])); "
        "print(json.dumps({n: {'entity': s3_rig.SITES[n], 'site_dir': str(f)} for n, f in folders.items()}))"
    )
    return json.loads(run([python, "-c", code, TOOLS / "sites"]).splitlines()[-1])


def publish(site: dict[str, str], keystone_url: str, account: str, credential: dict[str, str]) -> None:
    run(
        [TECHDOCS_CLI, "publish", "--publisher-type", "openStackSwift", "--storage-name", CONTAINER]
        + ["--entity", site["entity"], "--directory", site["site_dir"]]
        + ["--osCredentialId", credential["id"], "--osSecret", credential["secret"]]
        # Without /v3, which this client adds itself.
        + ["--osAuthUrl", keystone_url.removesuffix("/v3"), "--osSwiftUrl", account],
        {"PATH": f"{os.environ['PATH']}{os.pathsep}{TOOLS / 'venv' / 'bin'}"},
    )


# --- the rig's own test -----------------------------------------------------------------------------------------------


def check_refusals(account: str, users: Users) -> None:
    """Servers that let everybody in would make every test of credentials pass."""
    container = f"{account}/{CONTAINER}"
    reader, writer = users.token("reader"), users.token("writer")
    expected = {
        "a read without a token": (requests.get(f"{container}/x", timeout=30), 401),
        "a read with a token that is none": (ask_swift("GET", f"{container}/x", "gAAAAA"), 401),
        "a write by the reader": (ask_swift("PUT", f"{container}/x", reader, data=b"defaced"), 403),
        "a deletion by the reader": (ask_swift("DELETE", f"{container}/x", reader), 403),
        "a read of nothing by the reader": (ask_swift("GET", f"{container}/x", reader), 404),
        "a listing by the reader": (ask_swift("GET", container, reader), 204),
        "a write by the writer": (ask_swift("PUT", f"{container}/x", writer, data=b"x"), 201),
        "a deletion by the writer": (ask_swift("DELETE", f"{container}/x", writer), 204),
    }
    for what, (answer, status) in expected.items():
        if answer.status_code != status:
            fail(f"{what} was answered {answer.status_code}, not {status}: {answer.text}")


def check_objects(account: str, users: Users, sites: dict[str, dict[str, str]]) -> None:
    """By their digests: techdocs-cli only logs some of its failures."""
    expected = {}
    for site in sites.values():
        folder = pathlib.Path(site["site_dir"])
        for path in folder.rglob("*"):
            if path.is_file():
                name = f"{site['entity']}/{path.relative_to(folder).as_posix()}"
                expected[name] = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    listing = ask_swift("GET", f"{account}/{CONTAINER}?format=json", users.token("reader")).json()
    present = {entry["name"]: entry["hash"] for entry in listing}
    if expected != present:
        fail(f"the container does not hold the sites' files: {sorted(expected.items() ^ present.items())[:20]}")


# --- life and death ---------------------------------------------------------------------------------------------------


def control(processes: dict[str, Process], users: Users) -> str:
    """Serves what tests tell the rig to do."""

    def obey(words: list[str]) -> dict:
        match words:
            case ["kill", name]:
                processes[name].kill()
            case ["start", name]:
                processes[name].start()
                processes[name].wait_until_ready()
            case ["credential", user]:
                return users.credential(user)
            case ["revoke", user, credential]:
                users.revoke(user, credential)
        return {}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            try:
                status, answer = 200, obey(urllib.parse.unquote(self.path).strip("/").split("/"))
            except (Exception, SystemExit) as error:
                status, answer = 500, {"error": repr(error)}
            body = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_) -> None:
            pass

    server = ThreadingHTTPServer((HOST, 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://{HOST}:{server.server_port}"


def end_with_stdin() -> None:
    """Turns the end of stdin into the signal, so that there is one way to end."""

    def watch() -> None:
        while os.read(sys.stdin.fileno(), 4096):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def serve(folder: pathlib.Path, publishes: bool, token_seconds: int | None) -> None:
    undertaker = Undertaker(folder)
    taken: set[int] = set()
    keystone_port = free_port(taken)
    ports = {name: free_port(taken) for name in ["account", "container", "object", "proxy"]}
    keystone_url, swift_url = f"http://{HOST}:{keystone_port}/v3", f"http://{HOST}:{ports['proxy']}"
    admin_password, service_password = secrets.token_hex(16), secrets.token_hex(16)

    processes: dict[str, Process] = {}
    for process in swift(folder, ports, keystone_url, service_password, undertaker):
        processes[process.name] = process
        process.start()
    processes["keystone"] = keystone(folder, keystone_port, undertaker)
    prepare_keystone(folder, keystone_url, REGION, admin_password)
    processes["keystone"].start()
    for process in processes.values():
        process.wait_until_ready()

    identity = Identity(keystone_url, admin_password)
    identity.make_user("swift", service_password, identity.make("project", name="service", domain_id="default"), "admin")
    identity.make_catalog(swift_url)
    users = Users(identity)
    account = f"{swift_url}/v1/AUTH_{users.project}"
    make_container(account, users)
    check_refusals(account, users)
    credentials = {name: users.credential(name) for name in users.ids}
    sites = built_sites() if publishes else {}
    for site in sites.values():
        publish(site, keystone_url, account, credentials["writer"])
    if publishes:
        check_objects(account, users, sites)
    if token_seconds:
        # Only now: what the rig itself does takes longer on a busy machine.
        configure_keystone(folder, token_seconds)
        processes["keystone"].kill()
        processes["keystone"].start()
        processes["keystone"].wait_until_ready()

    ready = {
        # As Backstage's configuration has it.
        "authUrl": keystone_url.removesuffix("/v3"),
        "swiftUrl": account,
        "container": CONTAINER,
        "region": REGION,
        "otherRegion": OTHER_REGION,
        **credentials,
        "sites": sites,
        "control": control(processes, users),
    }
    print(json.dumps(ready), flush=True)
    while True:
        signal.pause()


def main() -> None:
    parser = argparse.ArgumentParser(description="OpenStack's Keystone and Swift, for the tests of that store.")
    parser.add_argument("--publish", action="store_true", help="publish the sites that s3_rig.py builds")
    parser.add_argument("--token-seconds", type=int, help="for how long tokens are good, if not an hour")
    options = parser.parse_args()

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    end_with_stdin()
    serve(pathlib.Path(tempfile.mkdtemp(prefix="swift-rig-")), options.publish, options.token_seconds)


if __name__ == "__main__":
    main()
