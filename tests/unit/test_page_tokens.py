"""Page tokens."""

from base64 import urlsafe_b64encode
from datetime import UTC, datetime

import pytest
from helpers.support import T0
from hypothesis import given
from hypothesis import strategies as st

from market_data.api.http.paging import make_page_token, read_page_token
from market_data.errors import BadParameters

PARAMETERS = ("/trades", "AAPL", T0, T0)
KEYS = st.tuples(st.datetimes(timezones=st.just(UTC)), st.integers(-(2**63), 2**63 - 1))


@given(KEYS)
def test_token_contains_its_key(key: tuple[datetime, int]):
    token = make_page_token(PARAMETERS, key)
    assert read_page_token(token, PARAMETERS) == key
    assert token.isascii()
    assert token.replace("-", "").replace("_", "").isalnum(), "no character needs escaping in a URL"


@given(KEYS)
def test_token_of_other_parameters_is_refused(key: tuple[datetime, int]):
    with pytest.raises(BadParameters, match="other parameters"):
        read_page_token(make_page_token(PARAMETERS, key), ("/candles", *PARAMETERS[1:]))


@given(KEYS, st.data())
def test_changed_token_is_refused(key: tuple[datetime, int], data: st.DataObject):
    token = make_page_token(PARAMETERS, key)
    place = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.sampled_from("ABCabc012-_").filter(lambda character: character != token[place]))
    with pytest.raises(BadParameters, match=r"page token|belongs to"):
        read_page_token(token[:place] + other + token[place + 1 :], PARAMETERS)
    with pytest.raises(BadParameters, match=r"page token|belongs to"):
        read_page_token(token[:place], PARAMETERS)


@given(st.text() | st.binary().map(lambda noise: urlsafe_b64encode(noise).decode()))
def test_noise_is_refused(noise: str):
    with pytest.raises(BadParameters, match=r"page token|belongs to"):
        read_page_token(noise, PARAMETERS)
