#!/usr/bin/env python3
"""An S3 bucket that tells an HTTP endpoint of its objects by an SNS topic, for the end-to-end tests.

    sns_rig.py <endpoint>

1. starts moto's S3 and SNS on a free port of 127.0.0.1
2. makes a bucket and a topic, subscribes the endpoint to the topic, and has the bucket notify the topic
3. prints one line of JSON: the server's port, the bucket and the topic
4. puts an object into the bucket for each line of stdin, which is its key, and deletes it where the line begins with `-`

It ends with its stdin. moto signs as SNS does, with SHA-256 and a key of its own; it asks nobody to confirm a
subscription.
"""

import json
import sys

import boto3
from botocore.client import Config
from moto.server import ThreadedMotoServer

REGION = "eu-central-1"
BUCKET = "techdocs-storage"


def main() -> None:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    port = server.get_host_and_port()[1]
    s3, sns = client("s3", port), client("sns", port)
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    topic = sns.create_topic(Name="docs")["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="http", Endpoint=sys.argv[1])
    events = ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]
    s3.put_bucket_notification_configuration(
        Bucket=BUCKET,
        NotificationConfiguration={"TopicConfigurations": [{"TopicArn": topic, "Events": events}]},
    )
    print(json.dumps({"port": port, "bucket": BUCKET, "topic": topic}), flush=True)
    for line in sys.stdin:
        line = line.rstrip("\n")
        if line.startswith("-"):
            s3.delete_object(Bucket=BUCKET, Key=line[1:])
        else:
            s3.put_object(Bucket=BUCKET, Key=line, Body=b"page")
    server.stop()


def client(service: str, port: int):
    return boto3.client(
        service,
        endpoint_url=f"http://127.0.0.1:{port}",
        region_name=REGION,
        aws_access_key_id="anybody",
        aws_secret_access_key="anybody",
        config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
    )


main()
