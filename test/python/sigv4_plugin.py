"""Signs with Amazon's plugin for the Python driver, for test/integration/auth_sigv4_test.exs to compare.

  sigv4_plugin.py ORDERS

ORDERS is a file of lines with tabs; a response is written to standard output for each, in hexadecimal digits:

  REGION ACCESS_KEY_ID SECRET SESSION_TOKEN UNIX_MS CHALLENGE

CHALLENGE is in hexadecimal digits; SESSION_TOKEN is - where there is none.
"""

import datetime
import sys

from boto3 import Session
from cassandra_sigv4 import auth

EPOCH = datetime.datetime(1970, 1, 1)


def main(orders):
    for line in open(orders, encoding="ascii"):
        print(sign(*line.rstrip("\n").split("\t")))


def sign(region, key, secret, token, unix_ms, challenge):
    moment = EPOCH + datetime.timedelta(milliseconds=int(unix_ms))
    # The plugin signs the present time: of its clock only this is asked for.
    auth.datetime = type("Clock", (), {"utcnow": staticmethod(lambda: moment)})
    session = Session(
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        aws_session_token=None if token == "-" else token,
        region_name=region,
    )
    authenticator = auth.SigV4AuthProvider(session).new_authenticator("localhost")
    return authenticator.evaluate_challenge(bytes.fromhex(challenge)).encode().hex()


if __name__ == "__main__":
    main(*sys.argv[1:])
