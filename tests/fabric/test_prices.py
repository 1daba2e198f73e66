"""Prices: published totals from one vector of prices, books that are wrong, and how firm a ranking is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import forebay.fabric
from forebay.codec import decode, encode
from forebay.errors import BadInput, Unknown
from forebay.fabric import books
from forebay.fabric.prices import Line, Lot, PriceBook, Quantities, Quote, Unpriced, in_currency, power, price, told
from forebay.fabric.sensitivity import flips, rank, under_books

PUBLISHED = json.loads((Path(forebay.fabric.__file__).parent / "data" / "published.json").read_text())
DEEPSEEK = [one for one in PUBLISHED["topologies"] if one["source"].startswith("DeepSeek") and (one["cost"] or {}).get("M_USD")]
G400 = 50e9
MICRO = 10**6


def fabric(record, *, cards=0):
    """What a record's table counts: switches of 400 Gbit/s, links between switches, and one access link an endpoint."""
    return Quantities(
        switches=(Lot(n=record["switches"], ports=record["parameters"]["switch_ports"], bytes_per_s=G400),),
        access_links=(Lot(n=record["endpoints"], bytes_per_s=G400),),
        inter_switch_links=(Lot(n=record["links"], bytes_per_s=G400),),
        cards=cards,
    )


def rails(ports, switches, inter, endpoints=32768):
    return Quantities(
        switches=(Lot(n=switches, ports=ports, bytes_per_s=G400),),
        access_links=(Lot(n=endpoints, bytes_per_s=G400),),
        inter_switch_links=(Lot(n=inter, bytes_per_s=G400),),
    )


@pytest.mark.parametrize("record", DEEPSEEK, ids=lambda record: record["topology"])
def test_one_vector_of_prices_gives_all_five_of_deepseeks_costs(record):
    quote = price(fabric(record), books.load("deepseek-a"))
    assert quote.total_micro / MICRO == pytest.approx(record["cost"]["M_USD"] * 1e6, rel=0.006)
    assert quote.unpriced == ()


def test_the_other_vector_gives_them_too_but_for_dragonfly():
    errors = {
        one["topology"]: price(fabric(one), books.load("deepseek-b")).total_micro / MICRO / one["cost"]["M_USD"] / 1e6 - 1
        for one in DEEPSEEK
    }
    assert len(errors) == 5
    assert max(abs(error) for error in errors.values()) < 0.0145
    assert [name for name, error in errors.items() if abs(error) > 0.006] == ["DF (Dragonfly)"]


def test_the_books_have_the_prices_that_the_records_imply():
    # The record rounds its vector to three digits, with which Dragonfly is 0.64 % off and not 0.55 %; the book has the digits.
    for name, vector in zip(("deepseek-a", "deepseek-b"), PUBLISHED["implied_price_vectors"], strict=True):
        kilo = {figure.item: figure.price_micro / MICRO / 1000 for figure in books.load(name).figures}
        assert kilo["switch"] == pytest.approx(vector["switch_kUSD"], abs=0.05)
        assert kilo["inter_switch_link"] == pytest.approx(vector["inter_switch_link_kUSD"], abs=0.005)
        assert kilo["card_link"] == kilo["inter_switch_link"]
        assert kilo["access_link"] == pytest.approx(vector["endpoint_link_kUSD"], abs=0.005)


@pytest.mark.parametrize(
    "tree, rail_only, percent",
    [
        (rails(64, 2560, 65536), rails(64, 1536, 32768), 38.5),  # 2-tier rails instead of a 3-tier tree
        (rails(128, 1280, 65536), rails(128, 256, 0), 77.0),  # a rail that is one switch
    ],
)
def test_one_ratio_of_prices_gives_both_ends_of_rail_onlys_savings(tree, rail_only, percent):
    book = books.load("rail-only-ratio")
    saved = 100 * (1 - price(rail_only, book).total_micro / price(tree, book).total_micro)
    assert saved == pytest.approx(percent, abs=0.06)


def test_what_has_no_price_is_said_and_not_guessed():
    quote = price(fabric(DEEPSEEK[0], cards=2048), books.load("deepseek-a"))
    assert quote.unpriced == (Unpriced(item="card", n=2048),)
    assert "unpriced" in told(quote)
    assert "total of what is priced" in told(quote)
    assert quote.total_micro == price(fabric(DEEPSEEK[0]), books.load("deepseek-a")).total_micro


def test_a_price_of_one_switch_or_speed_says_nothing_of_another():
    other = Quantities(switches=(Lot(n=3, ports=32, bytes_per_s=G400), Lot(n=2, ports=64, bytes_per_s=2 * G400)))
    quote = price(other, books.load("default"))
    assert quote.total_micro == 0
    assert [lack.item for lack in quote.unpriced] == ["switch 32 x 50 GB/s", "switch 64 x 100 GB/s"]


def test_a_link_is_priced_whole_or_by_its_parts():
    text = BOOK.replace("items = []", "") + item("transceiver", "100 USD") + item("fibre", "10 USD") + item("dac", "40 USD")
    links = Quantities(access_links=(Lot(n=2, medium="dac"), Lot(n=3)), inter_switch_links=(Lot(n=5),))
    made = "[links]\naccess_link = 'optics'\n"
    quote = price(links, books.parse(text.replace("[[items]]", made + "[[items]]", 1), "x"))
    assert {line.item: line.n for line in quote.lines} == {"dac": 2, "transceiver": 6, "fibre": 3}
    assert quote.total_micro == (2 * 40 + 3 * 210) * MICRO
    assert quote.unpriced == (Unpriced(item="inter switch link", n=5),)
    whole = books.parse(text.replace("[[items]]", made + "[[items]]", 1) + item("access_link", "5 USD"), "x")
    assert price(links, whole).total_micro == 25 * MICRO


def test_a_switch_without_a_price_of_its_own_is_priced_by_its_ports():
    book = books.parse(BOOK + item("switch_port", "7 USD") + item("switch", "500 USD", "ports = 32"), "x")
    two = Quantities(switches=(Lot(n=2, ports=64), Lot(n=1, ports=32)))
    assert price(two, book).total_micro == (2 * 64 * 7 + 500) * MICRO


def test_the_figure_that_says_most_is_taken():
    book = books.parse(BOOK + item("switch", "1 USD") + item("switch", "2 USD", "ports = 64") + item("fibre", "1 USD"), "x")
    assert price(Quantities(switches=(Lot(n=1, ports=64), Lot(n=1, ports=32))), book).total_micro == 3 * MICRO


def test_watts_are_summed_as_prices_are_and_glass_draws_none():
    book = books.load("default")
    drawn = power(fabric(DEEPSEEK[0], cards=2048), book)
    assert drawn.watts == 96 * 747 + 2 * (2048 + 2048) * 8 + 2048 * 700
    assert drawn.unpriced == ()
    assert power(Quantities(nics=(Lot(n=4),)), book).unpriced == (Unpriced(item="nic", n=4),)


# Books that people write ------------------------------------------------------------------------------------------------------

BOOK = 'currency = "USD"\ndate = 2026-11-20\n'


def item(name, worth, more=""):
    return f'[[items]]\nitem = "{name}"\nprice = "{worth}"\nsource = "quote 17"\nstatus = "quoted"\n{more}\n'


@pytest.mark.parametrize("name", books.names())
def test_the_books_that_come_along_survive_a_trip_through_json(name):
    book = books.load(name)
    assert decode(PriceBook, json.loads(json.dumps(encode(book)))) == book
    assert all(figure.source and figure.date for figure in book.figures)


CNY = '[currencies.CNY]\nrate = "7.10 CNY"\ndate = 2026-11-20\nsource = "made up"\n'


def test_a_price_in_another_currency_is_converted_at_the_books_own_rate():
    book = books.parse(BOOK + CNY + item("fibre", "71 CNY") + item("dac", "40 USD"), "x")
    assert [figure.price_micro for figure in book.figures] == [10 * MICRO, 40 * MICRO]
    quote = in_currency(price(Quantities(access_links=(Lot(n=3, medium="dac"),)), book), "CNY", book)
    assert (quote.total_micro, quote.currency) == (852 * MICRO, "CNY")
    with pytest.raises(Unknown, match="no rate"):
        in_currency(quote, "EUR", book)


@pytest.mark.parametrize(
    "text, says",
    [
        (BOOK + item("fibre", "-3 USD"), r"line 5, items\[0\] price: An amount is zero or more"),
        (BOOK + item("fibre", "3"), r"line 5, items\[0\] price: Money is a number and its currency"),
        (BOOK + item("fibre", "3 EUR"), r"line 5, items\[0\] price: The book has no rate"),
        (BOOK + item("dac", "3 USD") + item("fibre", "3 USD", 'speed = "400"'), r"line 14, items\[1\] speed: .*no quantity"),
        (BOOK + item("fibre", "3 USD", 'watts = "8"'), r"line 8, items\[0\] watts: .*no quantity"),
        (BOOK + item("fibre", "3 USD", "watts = 8"), r"line 8, items\[0\] watts: .*text"),
        (BOOK + item("fibre", "3 USD", "ports = 4"), r"line 8, items\[0\] ports"),
        (BOOK + item("cable", "3 USD"), r"line 4, items\[0\] item: No such item"),
        (BOOK + item("fibre", "3 USD", "colour = 'red'"), r"line 8, items\[0\] colour: No such field"),
        (BOOK + item("fibre", "3 USD").replace('source = "quote 17"', ""), r"line 3, items\[0\] source: .*missing"),
        (BOOK + item("fibre", "3 USD") + item("fibre", "4 USD"), r"line 11, items\[1\] price: A second price"),
        ('currency = "USD"\n' + item("fibre", "3 USD"), "date: The date is missing"),
        ("date = 2026-11-20\n" + item("fibre", "3 USD"), "currency: The field currency is missing"),
        (BOOK, "items: A price book has at least one"),
        (BOOK + "[[items]\n", "no TOML.*line 3"),
        (BOOK + CNY.replace("7.10 CNY", "7.10 EUR") + item("fibre", "3 USD"), r"line 4, \[currencies.CNY\] rate"),
        (BOOK + "[links]\naccess_link = 'string'\n" + item("fibre", "3 USD"), r"line 4, \[links\] access_link"),
        (BOOK + "[links]\naccess_link = ['optics']\n" + item("fibre", "3 USD"), r"line 4, \[links\] access_link"),
        (BOOK + item("fibre", "3 USD", 'speed = "0 Gbit/s"'), r"line 8, items\[0\] speed: A speed is above zero"),
        (BOOK + "[sources]\n'quote 17' = 3\n" + item("fibre", "3 USD"), r"\[sources\] quote 17: A source is a text"),
    ],
)
def test_a_book_that_is_wrong_gets_one_error_with_its_line_and_field(text, says):
    with pytest.raises(BadInput, match=says):
        books.parse(text, "mine")


def test_a_book_that_isnt_there_gets_the_names_of_those_that_are():
    with pytest.raises(Unknown, match="default"):
        books.load("defualt")


# How firm ---------------------------------------------------------------------------------------------------------------------


def quote(**lines):
    return Quote(
        book="b",
        currency="USD",
        date="2026",
        lines=tuple(Line(item=name, n=n, each_micro=each, status="", source="") for name, (n, each) in lines.items()),
    )


def test_a_ranking_says_which_price_would_have_to_move_and_how_far():
    ranking = rank({"tree": quote(switch=(10, 100), link=(5, 10)), "torus": quote(link=(150, 10))})
    assert [one.name for one in ranking.order] == ["tree", "torus"]
    told = {flip.item: (flip.multiplier, flip.cheapest) for flip in ranking.flips}
    assert told == {"switch": (1.45, "torus"), "link": (pytest.approx(1 - 450 / 1450), "torus")}


sums = st.fixed_dictionaries({name: st.tuples(st.integers(0, 9), st.just(each)) for name, each in (("switch", 7), ("link", 3))})


@given(st.dictionaries(st.sampled_from("abcd"), sums, min_size=2))
def test_just_beyond_a_flip_the_new_cheapest_is_the_cheapest_and_just_before_it_the_old_one(fabrics):
    quotes = {name: quote(**lines) for name, lines in fabrics.items()}

    def cost(name, item, times):
        return sum(line.sum_micro * (times if line.item == item else 1) for line in quotes[name].lines)

    best = rank(quotes).order[0].name
    for flip in flips(quotes):
        side = (
            1
            if flip.multiplier > 1 or (flip.multiplier == 1 and cost(flip.cheapest, flip.item, 2) < cost(best, flip.item, 2))
            else -1
        )
        for name in quotes:
            beyond = flip.multiplier + side * 1e-6
            assert cost(flip.cheapest, flip.item, beyond) <= cost(name, flip.item, beyond) + 1e-9
            assert (
                cost(best, flip.item, flip.multiplier - side * 1e-6)
                <= cost(name, flip.item, flip.multiplier - side * 1e-6) + 1e-3
            )


@given(st.dictionaries(st.sampled_from("abcd"), sums, min_size=2), st.floats(0.0, 5.0), st.sampled_from(["switch", "link"]))
def test_between_the_flips_of_a_price_nobody_else_is_cheaper(fabrics, times, item):
    quotes = {name: quote(**lines) for name, lines in fabrics.items()}
    best = rank(quotes).order[0].name
    crossings = [flip.multiplier for flip in flips(quotes) if flip.item == item]
    lowest = max([one for one in crossings if one <= 1], default=0.0)
    highest = min([one for one in crossings if one >= 1], default=9.0)
    if lowest < times < highest:
        costs = {
            name: sum(line.sum_micro * (times if line.item == item else 1) for line in one.lines) for name, one in quotes.items()
        }
        assert costs[best] <= min(costs.values()) + 1e-9


def test_a_fabric_that_lacks_a_price_is_listed_apart_unless_all_lack_the_same():
    lacking = Unpriced(item="nic", n=8)
    one, two = quote(link=(5, 10)), quote(link=(9, 10))
    both = {"a": Quote(**fields(one, lacking)), "b": Quote(**fields(two, lacking))}
    assert [ranked.name for ranked in rank(both).order] == ["a", "b"]
    ranking = rank({"a": Quote(**fields(one, lacking)), "b": two})
    assert [ranked.name for ranked in ranking.order] == ["b"]
    assert ranking.unranked[0].name == "a" and ranking.unranked[0].lacks == (lacking,)


def fields(one, lack):
    return {"book": one.book, "currency": one.currency, "date": one.date, "lines": one.lines, "unpriced": (lack,)}


def test_two_books_that_explain_one_table_disagree_about_the_torus():
    # Notes of the data set: price vectors that both give DeepSeek's table differ by 1.9 times on a torus.
    designs = {
        "3-tier tree": fabric({"switches": 800, "endpoints": 10240, "links": 20480, "parameters": {"switch_ports": 64}}),
        "8 planes": fabric({"switches": 480, "endpoints": 10240, "links": 10240, "parameters": {"switch_ports": 64}}),
        "torus": Quantities(card_links=(Lot(n=31944, bytes_per_s=G400),)),
    }
    told = under_books(designs, [books.load("deepseek-a"), books.load("deepseek-b")])
    a, b = ({one.name: one.total_micro / MICRO / 1e6 for one in ranking.order} for ranking in told.rankings)
    assert (a["3-tier tree"], a["8 planes"], a["torus"]) == pytest.approx((76.5, 45.1, 87.2), abs=0.06)
    assert (b["3-tier tree"], b["8 planes"], b["torus"]) == pytest.approx((76.6, 45.0, 46.0), abs=0.06)
    assert not told.stable
    assert told.cheapest == "8 planes"
    assert told.swaps == (("3-tier tree", "torus"),)
