"""Invalid bytes of a client do not affect the engine or other clients."""

import random
import struct

import psycopg
import pytest
from embedded.raw_client import FLUSH, SYNC, RawClient, bind, execute, fields, message, parse, query, startup


@pytest.fixture(autouse=True)
def other_clients_work(engine):
    """A client connected before the test and one connected after it are served."""
    with psycopg.connect(engine, autocommit=True) as before:
        before.execute("SET work_mem = '5MB'")
        yield
        assert before.execute("SHOW work_mem").fetchone() == ("5MB",)
    with psycopg.connect(engine, autocommit=True) as after:
        assert after.execute("SELECT 1").fetchone() == (1,)


FATAL = {
    "unknown type": b"!" + b"\0\0\0\4",
    "binary garbage": bytes(range(256)),
    "http": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "length below four": b"Q\0\0\0\3",
    "negative length": b"Q\xff\xff\xff\xff",
    "one gigabyte": b"Q" + struct.pack("!i", 2**30) + b"x" * 1000,
    "two gigabytes": b"d" + struct.pack("!i", 2**31 - 1),
    "a long sync": b"S" + struct.pack("!i", 100_000),
    "a second startup": startup(),
    "a password": message(b"p", b"secret\0"),
    "garbage within a pipeline": parse("", "SELECT 1") + b"\0\0\0\0\0",
    "a query within a copy": query("COPY pg_temp.t FROM STDIN") + query("SELECT 1"),
}


@pytest.mark.parametrize("name", FATAL)
def test_invalid_framing_ends_the_connection(engine, name):
    with RawClient(engine) as client:
        if "copy" in name:
            client.send(query("CREATE TEMP TABLE IF NOT EXISTS t (a integer)"))
            client.until(b"Z")
        client.send(FATAL[name])
        kind, body = client.until_closed()[-1]
        assert kind == b"E"
        assert fields(body)["S"] == "FATAL"
        assert fields(body)["C"] == "08P01"


ERRORS = {
    "bind without its strings": (message(b"B", b"garbage") + SYNC, "08P01"),
    "bind of an unknown statement": (bind("", "nowhere") + SYNC, "26000"),
    "bind of a statement that was never parsed": (bind("", "") + SYNC, "26000"),
    "bind with too few bytes": (parse("", "SELECT 1") + message(b"B", b"\0\0\0\1") + SYNC, "08P01"),
    "bind with a huge count": (
        parse("", "SELECT 1") + message(b"B", b"\0\0\0\0\xff\xff") + SYNC,
        "08P01",
    ),
    "parse without a text": (message(b"P", b"\0") + SYNC, "08P01"),
    "parse with a huge count": (message(b"P", b"\0SELECT 1\0\xff\xff") + SYNC, "08P01"),
    "execute of an unknown portal": (execute("nowhere") + SYNC, "34000"),
    "describe of an unknown kind": (message(b"D", b"X\0") + SYNC, "08P01"),
    "describe of nothing": (message(b"D") + SYNC, "08P01"),
    "close of an unknown kind": (message(b"C", b"X\0") + SYNC, "08P01"),
    "query without an end": (message(b"Q", b"SELECT 1"), "08P01"),
    "query of nothing": (message(b"Q"), "08P01"),
    "query with an end too early": (message(b"Q", b"SELECT 1\0 garbage\0"), "08P01"),
    "query that is not UTF-8": (message(b"Q", b"SELECT '\xff\xfe\x80'\0"), "22021"),
    "name that is not UTF-8": (message(b"P", b"\xff\xfe\0SELECT 1\0\0\0") + SYNC, ""),
    "sync with a body": (message(b"S", b"x"), "08P01"),
    "function call of garbage": (message(b"F", b"garbage"), "42883"),
    "function call too short": (message(b"F", b"x"), "08P01"),
    "prepare of a garbled name": (query('PREPARE "unfinished'), "42601"),
    "unfinished comment": (query("/* /* */ LISTEN x"), "42601"),
    "unfinished dollar quote": (query("DO $a$ DEALLOCATE"), "42601"),
    "discard of nothing": (query("DISCARD"), "42601"),
    "listen to nothing": (query("LISTEN"), "42601"),
    "unlisten of nothing": (query("UNLISTEN"), "42601"),
    "deallocate of nothing": (query("DEALLOCATE PREPARE"), ""),
    "copy of nothing": (query("COPY FROM STDIN"), "42601"),
    "copy from a program": (query("COPY pg_class FROM PROGRAM 'ls'"), ""),
}


@pytest.mark.parametrize("name", ERRORS)
def test_an_invalid_message_is_an_error_and_the_connection_survives(engine, name):
    data, code = ERRORS[name]
    with RawClient(engine) as client:
        client.send(data)
        received = client.until(b"Z")
        errors = [fields(body) for kind, body in received if kind == b"E"]
        if code:
            assert [error["C"] for error in errors] == [code]
        assert all(error["S"] == "ERROR" for error in errors)
        client.send(query("SELECT 'alive'"))
        assert any(b"alive" in body for kind, body in client.until(b"Z") if kind == b"D")


@pytest.mark.parametrize(
    "data",
    [
        message(b"d", b"1\n"),
        message(b"c"),
        message(b"f", b"no\0"),
        message(b"d", b"x" * 100_000) + message(b"c"),
    ],
    ids=["data", "done", "fail", "much data"],
)
def test_copy_messages_outside_of_a_copy_are_ignored(engine, data):
    with RawClient(engine) as client:
        client.send(data + query("SELECT 1"))
        assert [kind for kind, _ in client.until(b"Z")] == [b"T", b"D", b"C", b"Z"]


@pytest.mark.parametrize(
    "data",
    [
        b"Q",
        b"Q\0\0",
        query("SELECT 1")[:-3],
        b"Q" + struct.pack("!i", 200_000_000) + b"SELECT",
        parse("", "CREATE TABLE half (a integer)") + bind("", "") + execute(""),
        parse("", "CREATE TABLE half (a integer)") + bind("", "") + execute("") + FLUSH,
        query("BEGIN; CREATE TABLE half (a integer)"),
        query("CREATE TEMP TABLE IF NOT EXISTS t (a integer)"),
    ],
)
def test_a_client_that_disconnects_in_the_middle_leaves_no_table(engine, data):
    with RawClient(engine) as client:
        client.send(data)
    with psycopg.connect(engine) as other:
        assert other.execute("SELECT to_regclass('half')").fetchone() == (None,)


SCRAM_REQUEST = (b"R", struct.pack("!i", 10) + b"SCRAM-SHA-256\0\0")

STARTUPS = {
    "nothing": b"",
    "a byte": b"\0",
    "no length": b"\0\0\0\0",
    "short": struct.pack("!ii", 7, 0)[:7],
    "long": struct.pack("!i", 2**31 - 1),
    "http": b"GET / HTTP/1.1\r\n\r\n",
    "tls": bytes.fromhex("160301020001000 1fc0303".replace(" ", "")),
    "protocol 2": startup(2 << 16),
    "protocol 4": startup(4 << 16),
    "no user": struct.pack("!ii", 9, 196608) + b"\0",
    "no end": struct.pack("!ii", 12, 196608) + b"user",
    "a name without a value": struct.pack("!ii", 13, 196608) + b"user\0",
    "other database": startup(database="postgres"),
    "unknown user": startup(user="mallory"),
    "user with quotes": startup(user="a'b\"; DROP TABLE x; --"),
    "bad option": startup(options="-c"),
    "bad option value": startup(options="-c work_mem=%s"),
    "replication": startup(replication="database"),
    "cancel": struct.pack("!iiii", 16, 80877102, 1, 2),
}


@pytest.mark.parametrize("name", STARTUPS)
def test_an_invalid_startup_is_refused(engine, name):
    with RawClient(engine, start=False) as client:
        client.send(STARTUPS[name])
        client.socket.shutdown(1)
        received = client.until_closed()
        assert all(kind == b"E" and fields(body)["S"] == "FATAL" for kind, body in received if (kind, body) != SCRAM_REQUEST)


@pytest.mark.parametrize(
    ("start", "code"),
    [
        (startup(database="postgres"), "3D000"),
        (startup(user="mallory"), "28000"),
        (startup(2 << 16), "0A000"),
        (startup(options="-c nothing=1"), "42704"),
        (startup(nothing="1"), "42704"),
    ],
)
def test_a_refused_startup_has_the_sqlstate_of_the_reason(engine, start, code):
    with RawClient(engine, start=False) as client:
        client.send(start)
        kind, body = (client.authenticate() + client.until_closed())[-1]
        assert kind == b"E"
        assert fields(body)["C"] == code


def test_encryption_is_declined_and_the_startup_continues(engine):
    with RawClient(engine, start=False) as client:
        for code in (80877104, 80877103):
            client.send(struct.pack("!ii", 8, code))
            assert client.socket.recv(1) == b"N"
        client.send(startup())
        client.authenticate()
        assert client.until(b"Z")[0] == (b"R", b"\0\0\0\0")


def test_a_newer_protocol_is_negotiated_down(engine):
    with RawClient(engine, start=False) as client:
        client.send(startup(196610, **{"_pq_.wish": "granted"}))
        client.authenticate()
        received = client.until(b"Z")
        assert received[0] == (b"v", struct.pack("!ii", 0, 1) + b"_pq_.wish\0")
        assert received[-1] == (b"Z", b"I")


def test_an_unnamed_statement_survives_an_unnamed_statement_of_another_client(engine):
    with RawClient(engine) as one, RawClient(engine) as other:
        one.send(parse("", "SELECT 'one'") + SYNC)
        one.until(b"Z")
        other.send(parse("", "SELECT 'other'") + SYNC + query("SELECT 1"))
        other.until(b"Z")
        other.until(b"Z")
        one.send(bind("", "") + execute("") + SYNC)
        received = one.until(b"Z")
        assert [kind for kind, _ in received] == [b"2", b"D", b"C", b"Z"]
        assert b"one" in received[1][1]


def test_messages_can_arrive_byte_by_byte(engine):
    with RawClient(engine) as client:
        for byte in parse("s", "SELECT 7") + bind("", "s") + execute("") + SYNC:
            client.send(bytes([byte]))
        assert [kind for kind, _ in client.until(b"Z")] == [b"1", b"2", b"D", b"C", b"Z"]


def test_many_queries_at_once_are_answered_in_order(engine):
    with RawClient(engine) as client:
        client.send(b"".join(query(f"SELECT {at}") for at in range(500)))
        for at in range(500):
            received = client.until(b"Z")
            assert received[1][1].endswith(str(at).encode())


def test_messages_that_fill_the_receive_buffer_exactly(engine):
    # The engine reads 8 kB at a time and returns if a message ends exactly there.
    with RawClient(engine) as client:
        for size in range(8180, 8200):
            first = query("SELECT 1 /*" + "x" * (size - len(query("SELECT 1 /**/"))) + "*/")
            client.send(first)
            assert [kind for kind, _ in client.until(b"Z")] == [b"T", b"D", b"C", b"Z"]
            head = parse("", "SELECT 1 /*" + "x" * (size - len(parse("", "SELECT 1 /**/"))) + "*/")
            client.send(head + bind("", "") + execute("") + SYNC)
            assert [kind for kind, _ in client.until(b"Z")] == [b"1", b"2", b"D", b"C", b"Z"]
            bad = parse("", "SELEC 1 /*" + "x" * (size - len(parse("", "SELEC 1 /**/"))) + "*/")
            client.send(bad + bind("", "") + execute("") + SYNC)
            assert [kind for kind, _ in client.until(b"Z")] == [b"E", b"Z"]


VALID_MESSAGES = [
    query("SELECT 1; SELECT 'two'"),
    parse("s", "SELECT $1::text") + message(b"B", b"\0s\0\0\0\0\1\0\0\0\2hi\0\0") + execute("") + SYNC,
    query("BEGIN") + query("SELECT 1/0") + query("ROLLBACK"),
    query("CREATE TEMP TABLE IF NOT EXISTS fuzzed (a integer)"),
    query("COPY fuzzed FROM STDIN") + message(b"d", b"1\n2\n") + message(b"c"),
    parse("", "COPY fuzzed FROM STDIN") + bind("", "") + execute("") + SYNC + message(b"d", b"3\n") + message(b"c") + SYNC,
    query("PREPARE q AS SELECT 1; EXECUTE q; DEALLOCATE q"),
    query("LISTEN c; NOTIFY c, 'x'; UNLISTEN *"),
    query("SET TimeZone = 'Asia/Tokyo'; RESET ALL") + query("DISCARD ALL"),
    parse("", "SELECT generate_series(1, 9)") + bind("p", "") + message(b"D", b"Pp\0") + FLUSH,
    message(b"E", b"p\0\0\0\0\4") + message(b"C", b"Pp\0") + SYNC,
]


def mutated(generator: random.Random) -> bytes:
    """Valid messages with a few random changes."""
    parts = [generator.choice(VALID_MESSAGES) for _ in range(generator.randint(1, 5))]
    data = bytearray(b"".join(parts))
    for _ in range(generator.randint(1, 4)):
        data += b"\0" * (10 - len(data))
        at = generator.randrange(len(data) - 9)
        match generator.randrange(5):
            case 0:
                data[at] = generator.randrange(256)
            case 1:
                del data[at : at + generator.randint(1, 8)]
            case 2:
                data[at:at] = generator.randbytes(generator.randint(1, 8))
            case 3:
                data[at] ^= 1 << generator.randrange(8)
            case _:
                del data[at + 9 :]
    return bytes(data)


@pytest.mark.parametrize("number", range(8))
def test_mutated_messages_do_not_crash_the_engine(engine, number):
    generator = random.Random(number)
    for _ in range(40):
        with RawClient(engine) as client:
            client.send(mutated(generator))
            if generator.random() < 0.5:
                client.socket.shutdown(1)
                client.until_closed()
    with psycopg.connect(engine) as other:
        assert other.execute("SELECT 1").fetchone() == (1,)
