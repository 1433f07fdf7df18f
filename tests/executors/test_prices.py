"""Prices come from a table with date, region and source, and from one's own."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import pytest

import wrenla as wl
from wrenla.config import settings
from wrenla.errors import SettingError

pytestmark = pytest.mark.unit

TABLE = resources.files("wrenla.executors.aws_lambda").joinpath("prices.toml").read_text("utf-8")


def test_default_prices_are_those_of_the_table() -> None:
    prices = wl.Prices()
    assert (prices.region, prices.date) == ("us-east-1", "2025")
    assert prices.source
    assert (prices.invocation, prices.put, prices.get, prices.gb_month) == (2e-7, 5e-6, 4e-7, 0.023)


def test_prices_of_ones_own_are_not_said_to_be_of_a_region() -> None:
    prices = wl.Prices(put=1.0)
    assert (prices.put, prices.get) == (1.0, wl.Prices().get)
    assert (prices.region, prices.date, prices.source) == ("", "", "")


def test_prices_are_read_from_a_file_of_the_same_form(tmp_path: Path) -> None:
    path = tmp_path / "prices.toml"
    path.write_text(TABLE)
    assert wl.Prices.read(path) == wl.Prices()
    path.write_text(TABLE.replace("us-east-1", "eu-central-1").replace("put = 0.000005", "put = 0.0000054"))
    prices = wl.Prices.read(str(path))
    assert (prices.region, prices.put) == ("eu-central-1", 5.4e-6)
    assert settings(prices=path).prices == str(path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("put = 0.000005", "", "no 'put'; there are date, region"),
        ("put = 0.000005", "put = -1", r"put=-1: a number of dollars, at least 0"),
        ("put = 0.000005", "put = 'much'", r"put='much': a number"),
        ("put = 0.000005", "put = true", r"put=True: a number"),
        ("put = 0.000005", "put = 0.000005\npull = 1", "unknown 'pull'; there are gb_second_x86"),
        ('region = "us-east-1"', "region = 1", "region=1: a text"),
        ("[lambda]", "[lambda", r"prices\.toml'"),
    ],
)
def test_bad_tables_are_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "prices.toml"
    assert old in TABLE
    path.write_text(TABLE.replace(old, new))
    with pytest.raises(SettingError, match=message):
        wl.Prices.read(path)


def test_missing_table(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="No such file"):
        wl.Prices.read(tmp_path / "none.toml")
