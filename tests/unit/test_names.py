"""Names of instruments over time, in memory."""

from datetime import UTC, date, datetime

import pytest

from market_data.names import NameRange, Names

JANUARY, JUNE = datetime(2022, 1, 31, tzinfo=UTC), datetime(2022, 6, 9, 13, 30, tzinfo=UTC)
NAMES = Names(
    [
        NameRange("META", "FB", JUNE, None),
        NameRange("FB", "FB", None, JUNE),
        NameRange("METV", "META", JANUARY, None),
        NameRange("META", "META", None, JANUARY),
    ]
)


def test_most_services_have_no_names():
    names = Names()
    assert not names
    assert not names.is_loaded
    assert (names.key_of("A"), names.name_of("A"), names.key_on("A", date(2022, 1, 1))) == ("A", "A", "A")
    assert names.rename_json('{"symbol":"A"}') == '{"symbol":"A"}'
    names.replace([])
    assert names.is_loaded


@pytest.mark.parametrize(("name", "key"), [("META", "FB"), ("FB", "FB"), ("METV", "META"), ("A", "A")])
def test_key_of_the_instrument_that_has_a_name_or_had_it_last(name: str, key: str):
    assert NAMES.key_of(name) == key


@pytest.mark.parametrize(
    ("name", "day", "key"),
    [
        ("META", date(2022, 6, 9), "FB"),
        ("FB", date(2022, 6, 9), "FB"),
        ("FB", date(2022, 6, 10), None),
        ("META", date(2022, 6, 8), None),
        ("META", date(2022, 1, 31), None),
        ("META", date(2022, 1, 30), "META"),
        ("METV", date(1, 1, 1), None),
        ("META", date(1, 1, 1), "META"),
        ("META", date.max, "FB"),
    ],
)
def test_key_of_a_name_on_a_day(name: str, day: date, key: str | None):
    assert NAMES.key_on(name, day) == key


def test_present_names_replace_keys_once():
    text = '[{"symbol":"FB","latest":{"symbol":"FB"}},{"symbol":"META","x":"FB"},{"symbol":"A"}]'
    shown = '[{"symbol":"META","latest":{"symbol":"META"}},{"symbol":"METV","x":"FB"},{"symbol":"A"}]'
    assert NAMES.rename_json(text) == shown
    assert NAMES.rename_lines("META", "META,1\nMETA,2\n") == "METV,1\nMETV,2\n"
    assert NAMES.rename_lines("A", "A,1\n") == "A,1\n"


def test_names_of_an_instrument_are_in_order():
    assert [each.name for each in NAMES.names_of("FB")] == ["FB", "META"]
    assert NAMES.names_of("A") == [NameRange("A", "A", None, None)]
