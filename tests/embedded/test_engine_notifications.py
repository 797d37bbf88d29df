"""LISTEN and NOTIFY by connection, although the engine has one session."""

import time

import pytest
from psycopg import errors


def test_notifications_reach_only_connections_that_listen(connect):
    listener, other, sender = connect(), connect(), connect()
    listener.execute("LISTEN news")
    other.execute('LISTEN "Other"')
    sender.execute("NOTIFY news, 'one'")
    sender.execute("SELECT pg_notify('Other', 'two')")
    with sender.transaction():
        sender.execute("NOTIFY news, 'three'")
    with pytest.raises(errors.DivisionByZero), sender.transaction():  # noqa: PT012 - the exception leaves the whole block
        sender.execute("NOTIFY news, 'never'")
        sender.execute("SELECT 1/0")
    received = list(listener.notifies(timeout=1, stop_after=2))
    assert [(notification.channel, notification.payload) for notification in received] == [
        ("news", "one"),
        ("news", "three"),
    ]
    assert {notification.pid for notification in received} == {sender.info.backend_pid}
    assert [notification.payload for notification in other.notifies(timeout=1, stop_after=1)] == ["two"]
    assert list(sender.notifies(timeout=0.2)) == []
    assert list(listener.notifies(timeout=0.2)) == []


def test_a_notification_is_prompt(connect):
    listener, sender = connect(), connect()
    listener.execute("LISTEN prompt")
    started = time.monotonic()
    sender.execute("NOTIFY prompt")
    assert len(list(listener.notifies(timeout=5, stop_after=1))) == 1
    assert time.monotonic() - started < 1


@pytest.mark.parametrize("statement", ["UNLISTEN quiet", "UNLISTEN *", "DISCARD ALL"])
def test_unlisten_affects_one_connection_only(connect, statement):
    one, other, sender = connect(), connect(), connect()
    for connection in (one, other):
        connection.execute("LISTEN quiet")
    assert one.execute(statement).statusmessage == statement.split()[0].replace("DISCARD", "DISCARD ALL")
    sender.execute("NOTIFY quiet, 'x'")
    assert len(list(other.notifies(timeout=2, stop_after=1))) == 1
    assert list(one.notifies(timeout=0.2)) == []


def test_a_rollback_undoes_listen(connect):
    listener, sender = connect(), connect()
    with pytest.raises(errors.DivisionByZero), listener.transaction():  # noqa: PT012 - the exception leaves the whole block
        listener.execute("LISTEN undone")
        listener.execute("SELECT 1/0")
    sender.execute("NOTIFY undone")
    assert list(listener.notifies(timeout=0.2)) == []
