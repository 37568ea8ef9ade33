#!/usr/bin/env python3
"""An S3 server with two real TechDocs sites in it, for the end-to-end tests.

    s3_rig.py --cache <folder>

1. starts moto's S3 and IAM on a free port of 127.0.0.1
2. builds the sites of make_site.py with `techdocs-cli generate`, or takes them from the cache folder
3. makes a bucket, a user who may write to it and one who may only read, and switches on the checks of signatures and
   policies
4. publishes both sites with `techdocs-cli publish`, as the writer
5. makes sure that the server refuses what it should, and that the bucket holds what was built
6. prints one line of JSON, and serves until its stdin is closed or it is sent SIGTERM

Whoever spawns it keeps its stdin open: a test that is killed takes the rig along. Everything that goes wrong before
the line of JSON ends it with a message on stderr. Access keys are made at every start and good for this server alone.

Run it with the Python of the environment that tests/setup.sh makes: `mkdocs` is taken from beside that.
"""

import argparse
import contextlib
import fcntl
import hashlib
import http.client
import json
import logging
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import threading

import boto3
from botocore.client import Config
from botocore.exceptions import ClientError
from moto.server import ThreadedMotoServer

HERE = pathlib.Path(__file__).resolve().parent
BACKSTAGE = HERE.parent / "backstage"
TECHDOCS_CLI = BACKSTAGE / "node_modules" / ".bin" / "techdocs-cli"

HOST = "127.0.0.1"
BUCKET = "techdocs-storage"
# Not us-east-1, which too many clients fall back to.
REGION = "eu-central-1"

# Reads as the reader does, once the assumer has assumed it. moto has one account.
ROLE = "arn:aws:iam::123456789012:role/site-reader"

# What each site is published as. The small one's name has capitals, which techdocs-cli lower-cases in the keys.
SITES = {
    "large": "default/component/large-site",
    "small": "default/Component/Small-Site",
}

# All that Callboard ever needs. AWS would let this reader send a HEAD for the bucket as well; moto asks for
# `s3:HeadBucket`, which AWS does not know.
READ_OBJECTS = ["s3:GetObject"]
READ_BUCKET = ["s3:ListBucket"]


def key_prefix(site: str) -> str:
    """The entity as it stands in the keys."""
    return SITES[site].lower()


# --- sites ------------------------------------------------------------------------------------------------------------


def cache_key() -> str:
    """Changes with everything that decides what a built site looks like."""
    digest = hashlib.sha256()
    for path in [HERE / "make_site.py", HERE / "constraints.txt", BACKSTAGE / "package-lock.json"]:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def built_sites(cache: pathlib.Path) -> dict[str, pathlib.Path]:
    """The folders of the built sites. Builds them once however many rigs start, and never shows a half-built one."""
    cache.mkdir(parents=True, exist_ok=True)
    done = cache / cache_key()
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # Whoever holds the lock is the only builder: what else is half built was left by one that was killed.
        for leftover in cache.glob("building-*"):
            shutil.rmtree(leftover)
        if not done.is_dir():
            building = pathlib.Path(tempfile.mkdtemp(prefix="building-", dir=cache))
            try:
                build(building)
                building.rename(done)
            finally:
                shutil.rmtree(building, ignore_errors=True)
    return {name: done / name for name in SITES}


def build(target: pathlib.Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        run([sys.executable, HERE / "make_site.py", f"{scratch}/source"])
        for name in SITES:
            run(
                [TECHDOCS_CLI, "generate", "--no-docker", "--etag", f"{cache_key()}-{name}"]
                + ["--source-dir", f"{scratch}/source/{name}", "--output-dir", target / name],
                # MkDocs leaves temporary folders when it is killed.
                {"TMPDIR": scratch},
            )


def publish(site: pathlib.Path, entity: str, endpoint: str, keys: dict[str, str]) -> None:
    run(
        [TECHDOCS_CLI, "publish", "--publisher-type", "awsS3", "--storage-name", BUCKET, "--entity", entity]
        + ["--awsEndpoint", endpoint, "--awsS3ForcePathStyle", "--directory", site],
        {
            "AWS_ACCESS_KEY_ID": keys["accessKeyId"],
            "AWS_SECRET_ACCESS_KEY": keys["secretAccessKey"],
            "AWS_REGION": REGION,
        },
    )


def run(command: list, environment: dict[str, str] | None = None) -> None:
    """Runs a program to its end, and ends it and its children when this one has to go."""
    # Whatever AWS settings the developer has must neither help nor hinder.
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    clean["PATH"] = f"{pathlib.Path(sys.executable).parent}{os.pathsep}{clean['PATH']}"
    clean |= {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull} | (environment or {})
    process = subprocess.Popen(
        [str(part) for part in command],
        env=clean,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate()
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    if process.returncode != 0:
        sys.exit(f"s3_rig: {command[0]} ended with {process.returncode}:\n{output.decode(errors='replace')}")


# --- storage ----------------------------------------------------------------------------------------------------------


def client(service: str, endpoint: str, keys: dict[str, str]):
    return boto3.client(
        service,
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id=keys["accessKeyId"],
        aws_secret_access_key=keys["secretAccessKey"],
        config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
    )


def make_bucket_and_users(endpoint: str) -> dict[str, dict[str, str]]:
    # While checks are off, any keys do.
    anybody = {"accessKeyId": "anybody", "secretAccessKey": "anybody"}
    client("s3", endpoint, anybody).create_bucket(
        Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION}
    )
    bucket, objects = f"arn:aws:s3:::{BUCKET}", f"arn:aws:s3:::{BUCKET}/*"
    reading = [(READ_OBJECTS, [objects]), (READ_BUCKET, [bucket])]
    policies = {
        "writer": [(["s3:*"], [bucket, objects])],
        "reader": reading,
        # Reads nothing as itself.
        "assumer": [(["sts:AssumeRole"], [ROLE])],
    }
    iam = client("iam", endpoint, anybody)
    users = {}
    for user, rules in policies.items():
        iam.create_user(UserName=user)
        iam.put_user_policy(UserName=user, PolicyName=user, PolicyDocument=policy(rules))
        key = iam.create_access_key(UserName=user)["AccessKey"]
        users[user] = {"accessKeyId": key["AccessKeyId"], "secretAccessKey": key["SecretAccessKey"]}
    trusting = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": "*"}}
    trust = json.dumps({"Version": "2012-10-17", "Statement": [trusting]})
    name = ROLE.rpartition("/")[2]
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)
    iam.put_role_policy(RoleName=name, PolicyName=name, PolicyDocument=policy(reading))
    return users


def policy(rules: list[tuple[list[str], list[str]]]) -> str:
    statements = [{"Effect": "Allow", "Action": actions, "Resource": resources} for actions, resources in rules]
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def switch_checks_on(port: int) -> None:
    # The body is the number of requests that moto still lets through unchecked.
    status, _ = plain_request(port, "POST", "/moto-api/reset-auth", b"0")
    if status != 200:
        sys.exit(f"s3_rig: moto answered {status} when its checks were to be switched on")


def plain_request(port: int, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(HOST, port, timeout=30)
    connection.request(method, path, body)
    response = connection.getresponse()
    return response.status, response.read()


# --- the rig's own test -----------------------------------------------------------------------------------------------


def check_refusals(port: int, endpoint: str, users: dict[str, dict[str, str]]) -> None:
    """A server that lets everybody in would make every test of credentials pass."""
    key = f"{key_prefix('large')}/index.html"
    reader = client("s3", endpoint, users["reader"])
    forger = client("s3", endpoint, users["reader"] | {"secretAccessKey": "not the reader's"})
    stranger = client("s3", endpoint, {"accessKeyId": "AKIANOBODY", "secretAccessKey": "none"})
    refused = {
        "a wrong signature": lambda: forger.get_object(Bucket=BUCKET, Key=key),
        "an unknown access key": lambda: stranger.get_object(Bucket=BUCKET, Key=key),
        "a write by the reader": lambda: reader.put_object(Bucket=BUCKET, Key=key, Body=b"defaced"),
        "a deletion by the reader": lambda: reader.delete_object(Bucket=BUCKET, Key=key),
    }
    for what, request in refused.items():
        try:
            request()
        except ClientError as error:
            status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        else:
            status = 200
        if status != 403:
            sys.exit(f"s3_rig: {what} was answered {status}, not 403")
    status, _ = plain_request(port, "GET", f"/{BUCKET}/{key}")
    if status != 403:
        sys.exit(f"s3_rig: an unsigned request was answered {status}, not 403")


def check_keys(endpoint: str, keys: dict[str, str], sites: dict[str, pathlib.Path]) -> None:
    """techdocs-cli only logs some of its failures."""
    expected = {
        f"{key_prefix(name)}/{path.relative_to(site).as_posix()}"
        for name, site in sites.items()
        for path in site.rglob("*")
        if path.is_file()
    }
    pages = client("s3", endpoint, keys).get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
    present = {entry["Key"] for page in pages for entry in page.get("Contents", [])}
    if expected != present:
        sys.exit(f"s3_rig: the bucket's keys are not the sites' files: {sorted(expected ^ present)[:20]}")


# --- life and death ---------------------------------------------------------------------------------------------------


def end_with_stdin() -> None:
    """Turns the end of stdin into the signal, so that there is one way to end."""

    def watch() -> None:
        while os.read(sys.stdin.fileno(), 4096):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def main() -> None:
    parser = argparse.ArgumentParser(description="An S3 server with two real TechDocs sites in it.")
    parser.add_argument("--cache", type=pathlib.Path, required=True, help="folder that keeps built sites between runs")
    cache = parser.parse_args().cache.resolve()
    if not TECHDOCS_CLI.exists():
        sys.exit(f"s3_rig: {TECHDOCS_CLI} is missing: run tests/setup.sh")

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    end_with_stdin()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)

    server = ThreadedMotoServer(HOST, 0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    endpoint = f"http://{HOST}:{port}"

    sites = built_sites(cache)
    users = make_bucket_and_users(endpoint)
    switch_checks_on(port)
    for name, entity in SITES.items():
        publish(sites[name], entity, endpoint, users["writer"])
    check_refusals(port, endpoint, users)
    check_keys(endpoint, users["reader"], sites)

    def described(name: str) -> dict[str, str]:
        return {"entity": key_prefix(name), "published_as": SITES[name], "site_dir": str(sites[name])}

    ready = {
        "endpoint": endpoint,
        "bucket": BUCKET,
        "region": REGION,
        **users,
        "role": ROLE,
        **described("large"),
        "small": described("small"),
        "admin": f"{endpoint}/moto-api",
    }
    print(json.dumps(ready), flush=True)
    while True:
        signal.pause()


if __name__ == "__main__":
    main()
