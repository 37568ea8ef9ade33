#!/usr/bin/env python3
"""An S3 bucket whose users have the policies that a test gives them, for the tests of what Callboard may do.

    policy_rig.py <log file> <json>

The JSON: `users` maps names to IAM policies, `objects` maps keys to texts, `versioned` says whether the bucket keeps
versions, `bucket` is its name.

1. starts moto's S3 and IAM on a free port of 127.0.0.1, and writes each request's first line to the log file
2. makes the bucket, another one beside it with an object of its own, the objects and the users
3. switches on the checks of signatures and policies; conditions on `s3:prefix` count too, which moto passes over
4. prints one line of JSON: the endpoint and the users' keys
5. for each line of stdin, prints what the bucket holds as a line of JSON: every version and every delete marker

It ends with its stdin.
"""

import fnmatch
import json
import logging
import sys

from flask import request
from moto.iam.access_control import IAMPolicyStatement
from moto.s3.models import s3_backends
from moto.server import ThreadedMotoServer
from werkzeug.serving import WSGIRequestHandler

import s3_rig


def check_conditions(self, _incoming) -> bool:
    """As AWS does for the only condition that is used here; `*` is its only pattern."""
    for operator, keys in self._statement.get("Condition", {}).items():
        for key, patterns in keys.items():
            if (operator, key) != ("StringLike", "s3:prefix"):
                raise NotImplementedError(f"{operator} {key}")
            patterns = [patterns] if isinstance(patterns, str) else patterns
            prefix = request.args.get("prefix")
            if prefix is None or not any(fnmatch.fnmatchcase(prefix, pattern) for pattern in patterns):
                return False
    return True


def log_requests(file: str) -> None:
    log = open(file, "a", encoding="utf-8", buffering=1)

    def log_request(handler, code="-", _size="-") -> None:
        # As it came: werkzeug's own log decodes it.
        log.write(f"{handler.requestline} {code}\n")

    WSGIRequestHandler.log_request = log_request


def make_users(iam, policies: dict[str, dict]) -> dict[str, dict[str, str]]:
    users = {}
    for user, policy in policies.items():
        iam.create_user(UserName=user)
        iam.put_user_policy(UserName=user, PolicyName=user, PolicyDocument=json.dumps(policy))
        key = iam.create_access_key(UserName=user)["AccessKey"]
        users[user] = {"accessKeyId": key["AccessKeyId"], "secretAccessKey": key["SecretAccessKey"]}
    return users


def held(bucket: str) -> list[list[str]]:
    """Everything in the bucket, past the server's checks."""
    backend = s3_backends["123456789012"]["aws"]
    versions, _, markers, *_ = backend.list_object_versions(bucket)
    names = [["object", key.name] for key in versions] + [["marker", marker.name] for marker in markers]
    return sorted(names)


def main() -> None:
    log, wanted = sys.argv[1], json.loads(sys.argv[2])
    IAMPolicyStatement._check_conditions = check_conditions
    server = ThreadedMotoServer(s3_rig.HOST, 0, verbose=False)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server.start()
    _, port = server.get_host_and_port()
    endpoint = f"http://{s3_rig.HOST}:{port}"
    anybody = {"accessKeyId": "anybody", "secretAccessKey": "anybody"}
    s3 = s3_rig.client("s3", endpoint, anybody)
    bucket = wanted["bucket"]
    for name in [bucket, "another-bucket"]:
        s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": s3_rig.REGION})
    if wanted.get("versioned"):
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    for key, text in wanted["objects"].items():
        s3.put_object(Bucket=bucket, Key=key, Body=text.encode())
    s3.put_object(Bucket="another-bucket", Key="default/component/shop/index.html", Body=b"another bucket's")
    users = make_users(s3_rig.client("iam", endpoint, anybody), wanted["users"])
    s3_rig.switch_checks_on(port)
    log_requests(log)
    print(json.dumps({"endpoint": endpoint, "region": s3_rig.REGION, "users": users}), flush=True)
    for _ in sys.stdin:
        print(json.dumps(held(bucket)), flush=True)
    server.stop()


main()
