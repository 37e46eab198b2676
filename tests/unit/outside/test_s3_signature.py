"""Signatures of S3, against the example that its documentation works through."""

from datetime import UTC, datetime

from funclet.outside.s3 import S3Credentials, sign


def test_the_documented_example_of_a_put_is_reproduced():
    """AWS, "Authenticating Requests: Using the Authorization Header", example PUT Object."""
    signed = sign(
        "PUT",
        "/test%24file.text",
        headers={
            "host": "examplebucket.s3.amazonaws.com",
            "date": "Fri, 24 May 2013 00:00:00 GMT",
            "x-amz-storage-class": "REDUCED_REDUNDANCY",
        },
        body=b"Welcome to Amazon S3.",
        at=datetime(2013, 5, 24, tzinfo=UTC),
        credentials=S3Credentials(
            access="AKIAIOSFODNN7EXAMPLE", secret="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", region="us-east-1"
        ),
    )

    assert signed["authorization"].endswith(
        "SignedHeaders=date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class, "
        "Signature=98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"
    )
    assert "wJalr" not in repr(S3Credentials(access="a", secret="wJalr", region="r"))
