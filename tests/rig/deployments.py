"""Validates the deployment examples and prints them as one JSON document.

    deployments.py compose.yaml kubernetes.yaml

The Compose file, with the defaults of its variables, is read by an implementation of its specification, which knows every key; the manifests are held against
the schemas that Kubernetes itself publishes, of the oldest and of the newest version that somebody may run, and nothing
unknown passes. What is wrong goes to standard error, with exit code 1.
"""

import json
import re
import sys

import kubernetes_validate
import yaml
from compose_spec import PyCompose

KUBERNETES = ["1.28", "1.37"]


def main(compose_file, kubernetes_file):
    with open(compose_file) as file:
        text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", file.read())
    PyCompose.from_yaml(text)
    with open(kubernetes_file) as file:
        manifests = list(yaml.safe_load_all(file))
    for manifest in manifests:
        for version in KUBERNETES:
            kubernetes_validate.validate(manifest, version, strict=True)
    json.dump({"compose": yaml.safe_load(text), "kubernetes": manifests}, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
