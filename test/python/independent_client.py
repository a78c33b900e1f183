"""Reads and writes values with the Python driver, for test/integration/types_test.exs to compare.

  independent_client.py HOST PORT CA_FILE ORDERS      with an empty CA_FILE without TLS

PALLADION_TEST_USER and PALLADION_TEST_PASSWORD are the login. ORDERS is a file of lines with tabs:

  TABLE COLUMN ID         read: the value is written to standard output, a line an order
  TABLE COLUMN ID VALUE   write

A value's text says its kind and is the same for the same value, as test/support/canonical.ex says it too.
"""

import datetime
import decimal
import ipaddress
import logging
import os
import ssl
import struct
import sys
import uuid

from cassandra import cqltypes, util
from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile
from cassandra.concurrent import execute_concurrent
from cassandra.policies import WhiteListRoundRobinPolicy
from cassandra.query import tuple_factory

EPOCH = datetime.datetime(1970, 1, 1)


def main(host, port, ca_file, orders):
    # Warnings of one node and a protocol version to be found out.
    logging.getLogger("cassandra").addHandler(logging.NullHandler())
    session = connect(host, int(port), ca_file)
    prepared, requests, reads = {}, [], []
    for line in open(orders, encoding="ascii"):
        table, column, key, *value = line.rstrip("\n").split("\t")
        if not value:
            reads.append(len(requests))
            requests.append((f"SELECT {column} FROM {table} WHERE id = {key}", ()))
            continue
        insert = f"INSERT INTO {table} (id, {column}) VALUES (?, ?)"
        if insert not in prepared:
            prepared[insert] = session.prepare(insert)
        statement = prepared[insert]
        requests.append((statement, (int(key), parse(value[0], statement.column_metadata[1].type))))
    answers = execute_concurrent(session, requests, concurrency=50)
    for at in reads:
        result = answers[at].result_or_exc
        print(text(result.one()[0], result.column_types[0]))


def connect(host, port, ca_file):
    context = ssl.create_default_context(cafile=ca_file) if ca_file else None
    # No other address than the one that the certificate is for.
    profile = ExecutionProfile(
        load_balancing_policy=WhiteListRoundRobinPolicy([host]), row_factory=tuple_factory, request_timeout=30
    )
    login = PlainTextAuthProvider(os.environ["PALLADION_TEST_USER"], os.environ["PALLADION_TEST_PASSWORD"])
    return Cluster(
        [host],
        port=port,
        ssl_context=context,
        ssl_options={"server_hostname": host} if ca_file else None,
        auth_provider=login,
        execution_profiles={EXEC_PROFILE_DEFAULT: profile},
        schema_metadata_enabled=False,
        token_metadata_enabled=False,
    ).connect()


def is_a(cql_type, parent):
    return isinstance(cql_type, type) and issubclass(cql_type, parent)


def bare(cql_type):
    return bare(cql_type.subtypes[0]) if is_a(cql_type, cqltypes.FrozenType) else cql_type


def name_of(cql_type):
    return "text" if cql_type.typename == "varchar" else cql_type.typename


# From values to texts


def text(value, cql_type):
    cql_type = bare(cql_type)
    if value is None:
        return "null"
    subtypes = getattr(cql_type, "subtypes", ())
    if is_a(cql_type, cqltypes.TupleType):  # user-defined types too
        values = list(value) + [None] * (len(subtypes) - len(value))
        return "(" + ";".join(text(v, t) for v, t in zip(values, subtypes)) + ")"
    if is_a(cql_type, cqltypes.MapType):
        pairs = [text(k, subtypes[0]) + "=" + text(v, subtypes[1]) for k, v in value.items()]
        return "{" + ";".join(sorted(pairs)) + "}"
    if is_a(cql_type, cqltypes.SetType):
        return "{" + ";".join(sorted(text(v, subtypes[0]) for v in value)) + "}"
    if is_a(cql_type, cqltypes.ListType):
        return "[" + ";".join(text(v, subtypes[0]) for v in value) + "]"
    if is_a(cql_type, cqltypes.VectorType):
        return "[" + ";".join(text(v, cql_type.subtype) for v in value) + "]"
    name = name_of(cql_type)
    return f"{name}:{SIMPLE[name][0](value)}"


def float_text(value):
    return "nan" if value != value else struct.pack(">d", value).hex()


def decimal_text(value):
    sign, digits, exponent = value.as_tuple()
    number = int("".join(map(str, digits)))
    return f"{-number if sign else number}e{exponent}"


def timestamp_text(value):
    # Read by way of a float, so to the nearest.
    return str(round((value - EPOCH) / datetime.timedelta(milliseconds=1)))


# From texts to values


def parse(text, cql_type):
    value, rest = parse_some(text, cql_type)
    assert rest == "", rest
    return value


def parse_some(text, cql_type):
    cql_type = bare(cql_type)
    if text.startswith("null"):
        return None, text[4:]
    subtypes = getattr(cql_type, "subtypes", ())
    if is_a(cql_type, cqltypes.TupleType):
        values, rest = parse_items(text, subtypes)
        return tuple(values), rest
    if is_a(cql_type, cqltypes.MapType):
        items, rest = parse_items(text, [subtypes[0], subtypes[1]], cycle=True)
        return util.OrderedMap(zip(items[::2], items[1::2])), rest
    if is_a(cql_type, (cqltypes.ListType, cqltypes.SetType)):
        return parse_items(text, [subtypes[0]], cycle=True)
    if is_a(cql_type, cqltypes.VectorType):
        return parse_items(text, [cql_type.subtype], cycle=True)
    end = min([at for at in map(text.find, ";=)]}") if at >= 0], default=len(text))
    name, _, content = text[:end].partition(":")
    assert name == name_of(cql_type), (name, cql_type)
    return SIMPLE[name][1](content), text[end:]


def parse_items(text, types, cycle=False):
    rest, items = text[1:], []
    while rest[0] not in ")]}":
        rest = rest.lstrip(";=")
        item, rest = parse_some(rest, types[len(items) % len(types) if cycle else len(items)])
        items.append(item)
    return items, rest[1:]


def parse_float(content):
    return float("nan") if content == "nan" else struct.unpack(">d", bytes.fromhex(content))[0]


def parse_decimal(content):
    number, _, exponent = content.partition("e")
    digits = tuple(map(int, number.lstrip("-")))
    return decimal.Decimal((number.startswith("-"), digits, int(exponent)))


def parse_hex_text(content):
    return bytes.fromhex(content).decode()


def hex_text(value):
    return value.encode().hex()


INTEGER = (str, int)
TEXT = (hex_text, parse_hex_text)
FLOAT = (float_text, parse_float)
UUID = (str, uuid.UUID)

SIMPLE = {
    "ascii": TEXT,
    "bigint": INTEGER,
    "blob": (lambda v: bytes(v).hex(), bytes.fromhex),
    "boolean": (lambda v: str(v).lower(), lambda t: t == "true"),
    "date": (lambda v: str(v.days_from_epoch), lambda t: util.Date(int(t))),
    "decimal": (decimal_text, parse_decimal),
    "double": FLOAT,
    "duration": (
        lambda v: f"{v.months},{v.days},{v.nanoseconds}",
        lambda t: util.Duration(*map(int, t.split(","))),
    ),
    "float": FLOAT,
    "inet": (
        lambda v: ipaddress.ip_address(v).packed.hex(),
        lambda t: str(ipaddress.ip_address(bytes.fromhex(t))),
    ),
    "int": INTEGER,
    "smallint": INTEGER,
    "text": TEXT,
    "time": (lambda v: str(v.nanosecond_time), lambda t: util.Time(int(t))),
    # Written as milliseconds, which may be beyond Python's years.
    "timestamp": (timestamp_text, int),
    "timeuuid": UUID,
    "tinyint": INTEGER,
    "uuid": UUID,
    "varint": INTEGER,
}

if __name__ == "__main__":
    main(*sys.argv[1:])
