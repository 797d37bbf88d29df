"""Page tokens."""

from base64 import urlsafe_b64encode
from datetime import UTC

import pytest
from helpers.support import T0
from hypothesis import given
from hypothesis import strategies as st

from market_data.api.http.paging import PageStart, make_page_token, read_page_token
from market_data.errors import BadParameters

PARAMETERS = ("/trades", "AAPL", T0, T0)
TIMES = st.datetimes(timezones=st.just(UTC))
NUMBERS = st.integers(-(2**63), 2**63 - 1)
KEYS = st.tuples(st.integers(0, 99), st.none() | TIMES, NUMBERS)
PAGES = st.builds(
    PageStart, st.lists(KEYS, min_size=1, max_size=100), st.none() | TIMES, st.none() | TIMES, st.none() | NUMBERS
)


@given(PAGES)
def test_token_contains_its_page(page: PageStart):
    token = make_page_token(PARAMETERS, page)
    assert read_page_token(token, PARAMETERS) == page
    assert token.isascii()
    assert token.replace("-", "").replace("_", "").isalnum(), "no character needs escaping in a URL"


@given(PAGES)
def test_token_of_other_parameters_is_refused(page: PageStart):
    with pytest.raises(BadParameters, match="other parameters"):
        read_page_token(make_page_token(PARAMETERS, page), ("/candles", *PARAMETERS[1:]))


@given(PAGES, st.data())
def test_changed_token_is_refused(page: PageStart, data: st.DataObject):
    token = make_page_token(PARAMETERS, page)
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
