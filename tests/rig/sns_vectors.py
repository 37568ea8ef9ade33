#!/usr/bin/env python3
"""Makes tests/vectors/events/signed.json: messages signed as SNS signs them, by another hand than the one that verifies.

    sns_vectors.py > tests/vectors/events/signed.json

The text to sign is put together as AWS describes it:
https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html

The key is made anew and thrown away: run it with the Python of the environment that tests/setup.sh makes.
"""

import base64
import datetime
import json
import sys

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

TOPIC = "arn:aws:sns:eu-central-1:123456789012:docs"
HOST = "https://sns.eu-central-1.amazonaws.com"
NOW = "2026-11-20T12:00:00.719Z"

LATER = "2026-11-21T13:00:00.000Z"

NOTIFICATION = ["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"]
CONFIRMATION = ["Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"]

EVENT = {
    "Records": [
        {
            "eventSource": "aws:s3",
            "eventName": "ObjectCreated:Put",
            "s3": {"bucket": {"name": "docs"}, "object": {"key": "default/component/shop/%C3%BCber+uns.html"}},
        }
    ]
}

EVENT_BRIDGE = {
    "source": "aws.s3",
    "detail-type": "Object Deleted",
    "detail": {"bucket": {"name": "docs"}, "object": {"key": "a+b.html"}},
}


def main() -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    messages = []
    for version in ["1", "2"]:
        for extra in [{}, {"Subject": "Amazon S3 Notification"}]:
            message = json.dumps(EVENT, indent=1, ensure_ascii=False)
            messages.append(signed(key, version, NOTIFICATION, notification(message) | extra))
        for kind in ["SubscriptionConfirmation", "UnsubscribeConfirmation"]:
            url = f"{HOST}/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token=2336412f37fb"
            messages.append(signed(key, version, CONFIRMATION, subscription(kind, url)))
    vectors = {"now": NOW, "certificate": certificate(key), "messages": messages}
    vectors["later"] = signed(key, "2", NOTIFICATION, notification(json.dumps(EVENT)) | {"Timestamp": LATER})
    vectors["notifications"] = [
        {"expect": expect, "message": signed(key, "2", NOTIFICATION, notification(text))}
        for expect, text in {
            "docs/a+b.html": json.dumps(EVENT_BRIDGE),
            "200 nothing": json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "docs"}),
            "400 malformed": "Hello",
        }.items()
    ]
    # What SNS would never sign: that it is signed is not all that counts.
    vectors["confirmations"] = [
        signed(key, "2", CONFIRMATION, subscription("SubscriptionConfirmation", url))
        for url in [
            f"https://evil.test/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token=2336412f37fb",
            f"{HOST}/?Action=Publish&TopicArn={TOPIC}&Token=2336412f37fb",
            f"{HOST}/?Action=ConfirmSubscription&Action=Publish&TopicArn={TOPIC}&Token=2336412f37fb",
            f"{HOST}/?Action=ConfirmSubscription&TopicArn={TOPIC}2&Token=2336412f37fb",
            f"{HOST}/?Action=ConfirmSubscription&Token=2336412f37fb",
            f"{HOST}/other?Action=ConfirmSubscription&TopicArn={TOPIC}&Token=2336412f37fb",
            f"http://{HOST.removeprefix('https://')}/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token=2336412f37fb",
        ]
    ]
    json.dump(vectors, sys.stdout, indent=2)
    print()


def notification(text: str) -> dict[str, str]:
    return {"Type": "Notification", "Message": text}


def subscription(kind: str, url: str) -> dict[str, str]:
    return {"Type": kind, "Message": "You have chosen.\nTo confirm …", "Token": "2336412f37fb", "SubscribeURL": url}


def signed(key, version: str, names: list[str], fields: dict[str, str]) -> dict[str, str]:
    fields = {"MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324", "TopicArn": TOPIC, "Timestamp": NOW} | fields
    text = "".join(f"{name}\n{fields[name]}\n" for name in names if name in fields)
    algorithm = {"1": hashes.SHA1(), "2": hashes.SHA256()}[version]
    signature = key.sign(text.encode(), padding.PKCS1v15(), algorithm)
    return fields | {
        "SignatureVersion": version,
        "Signature": base64.b64encode(signature).decode(),
        "SigningCertURL": f"{HOST}/SimpleNotificationService-01d088a6f77103d0fe307c0069e40ed6.pem",
    }


def certificate(key) -> str:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "A test's authority")]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.datetime(2026, 1, 1))
        .not_valid_after(datetime.datetime(2027, 1, 1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("sns.amazonaws.com")]), critical=False)
    )
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


main()
