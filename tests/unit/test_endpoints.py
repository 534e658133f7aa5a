"""Addresses of stores: what is malformed is refused before anybody is asked, and no part of it is said."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrate.adapters.aws_account.calls import Calls
from migrate.adapters.endpoints import require_endpoint
from migrate.adapters.s3 import Access, open_account
from migrate.errors import UsageProblem

WRONG = [
    "ops:S3cret@127.0.0.1:1", "http://ops:S3cret@127.0.0.1:1", "http://ops:Sup3r/S3cret@h", "http://ops:Sup3r#S3cret@h",
    "http://h:99999999", "http://h:0", "http://[::1", "s3.example.net", "ftp://h", "http://", "", "http://h?S3cret",
]  # fmt: skip


@pytest.mark.parametrize("address", WRONG)
def test_what_is_no_address_is_refused_and_not_said(address: str) -> None:
    for ask in (lambda: require_endpoint(address), lambda: Calls(endpoint_url=address),
                lambda: open_account(Access(endpoint_url=address))):  # fmt: skip
        with pytest.raises(UsageProblem) as refused:
            ask()
        assert "--endpoint-url" in str(refused.value)
        assert "S3cret" not in str(refused.value)


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"])
def test_the_environment_is_looked_at_too(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "http://ops:S3cret@127.0.0.1:1")
    with pytest.raises(UsageProblem) as refused:
        open_account(Access())
    assert variable in str(refused.value)
    assert "S3cret" not in str(refused.value)


@pytest.mark.parametrize("address", ["http://127.0.0.1:9000", "https://s3.example.net", "http://[::1]:9000/base"])
def test_what_is_an_address_is_taken(address: str) -> None:
    require_endpoint(address)


@given(st.text(max_size=40))
def test_any_text_is_an_address_or_refused(text: str) -> None:
    try:
        require_endpoint(text)
    except UsageProblem as refused:
        assert len(text) < 4 or text not in str(refused)
