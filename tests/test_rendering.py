"""Templates: the language that is chosen, the folder that goes first, and what a reader gets to see."""

import re
from pathlib import Path
from typing import Any

import pytest
from babel import Locale

from jobctl.rendering import BUILT_IN, Reader, Rendered, RenderError, Templates

EVERYBODY = Reader("Anna", "en", "UTC")
# One context for each built-in template: what whoever queues a message has to give.
CONTEXTS: dict[str, dict[str, Any]] = {
    "welcome": {},
    "session-reminder": {
        "partner": "Ben",
        "join_url": "https://market.example/join/4711",
        "starts_at": "2026-11-22T13:00:00+00:00",
    },
    "payment-receipt": {
        "amount": {"minor": 4500, "currency": "EUR"},
        "description": "a session",
        "paid_at": "2026-11-22T13:00:00+00:00",
    },
    "weekly-digest": {"experts": ["Ben", "Cora"]},
    "session-missed-by-expert": {"starts_at": "2026-11-22T13:00:00+00:00"},
    "session-missed": {"starts_at": "2026-11-22T13:00:00+00:00"},
    "session-apology": {"starts_at": "2026-11-22T13:00:00+00:00"},
    "session-cancelled-unpaid": {"starts_at": "2026-11-22T13:00:00+00:00"},
    "payment-card-declined": {
        "amount": {"minor": 4500, "currency": "EUR"},
        "starts_at": "2026-11-22T13:00:00+00:00",
        "part": "session",
        "until": "2026-11-22T12:00:00+00:00",
    },
    "subscription-renewed": {
        "plan": "Gold",
        "amount": {"minor": 4500, "currency": "EUR"},
        "ended_at": "2026-12-22T13:00:00+00:00",
    },
    "renewal-declined": {
        "plan": "Gold",
        "amount": {"minor": 4500, "currency": "EUR"},
        "again_at": "2026-11-23T00:00:00+00:00",
        "until": "2026-11-25T13:00:00+00:00",
    },
    "request-paid": {"amount": {"minor": 4500, "currency": "NGN"}},
    "request-declined": {"amount": {"minor": 4500, "currency": "NGN"}},
    "request-refunded": {"amount": {"minor": 4500, "currency": "NGN"}},
    "subscription-expired": {"plan": "Gold", "ended_at": "2026-11-22T13:00:00+00:00"},
    "credits-reset": {"free_credits": 100},
    "credits-expiring": {"credits": 40, "expires_at": "2026-11-29T13:00:00+00:00"},
    "session-receipt": {
        "amount": {"minor": 4500, "currency": "EUR"},
        "starts_at": "2026-11-22T13:00:00+00:00",
    },
}
# What the jobs queue, and not the application alone.
FROM_JOBS = sorted(set(CONTEXTS) - {"welcome", "weekly-digest"})
BUILT_INS = sorted(
    (path.parent.name, path.name.removesuffix(".subject.txt")) for path in BUILT_IN.glob("*/*.subject.txt")
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give an empty TEMPLATES_FOLDER."""
    made = tmp_path / "templates"
    made.mkdir()
    return made


def put(folder: Path, path: str, content: str) -> None:
    """Write one file of a template."""
    (folder / path).parent.mkdir(exist_ok=True)
    (folder / path).write_text(content, encoding="utf-8")


def put_all(folder: Path, name: str, content: str, language: str = "en") -> None:
    """Write a template whose subject, text and HTML are all that content."""
    for suffix in ("subject.txt", "txt", "html"):
        put(folder, f"{language}/{name}.{suffix}", content)


def render(
    name: str,
    reader: Reader = EVERYBODY,
    *,
    folder: Path | None = None,
    default: str = "en",
    **context: Any,
) -> Rendered:
    return Templates(folder, default).render(name, reader, context)


def language_of(rendered: Rendered) -> str:
    found = re.search(r'<html lang="([^"]+)">', rendered.html or "")
    assert found
    return found[1]


class TestBuiltIns:
    @pytest.mark.parametrize(("language", "name"), BUILT_INS)
    def test_each_renders_in_each_of_its_languages(self, language: str, name: str) -> None:
        """Subject, text and HTML: none is empty, and none lacks something of the context."""
        rendered = render(name, Reader("Zoë <Z>", language, "Europe/Vienna"), **CONTEXTS[name])
        assert rendered.subject
        assert "\n" not in rendered.subject
        assert "Zoë <Z>" in rendered.text
        assert rendered.html
        assert "Zoë &lt;Z&gt;" in rendered.html
        assert language_of(rendered) == language

    @pytest.mark.parametrize(("language", "name"), BUILT_INS)
    def test_one_without_a_name_is_greeted_without_it(self, language: str, name: str) -> None:
        """As is somebody whose address the application gave, and no user."""
        rendered = render(name, Reader("", language, "Europe/Vienna"), **CONTEXTS[name])
        for each in (rendered.subject, rendered.text, rendered.html or ""):
            assert not re.search(r"\s[,:!]", each)
        assert not rendered.subject.endswith((",", ":"))

    def test_no_file_lacks_its_partners(self) -> None:
        """What has a text has a subject and HTML, or one language would quietly get less than another."""
        have = {
            suffix: {str(path)[: -len(suffix)] for path in BUILT_IN.glob(f"*/*{suffix}")}
            for suffix in (".subject.txt", ".txt", ".html")
        }
        texts = {each for each in have[".txt"] if not each.endswith(".subject")}
        assert have[".subject.txt"] == texts == have[".html"]

    def test_each_is_there_in_the_language_of_last_resort(self) -> None:
        assert {name for language, name in BUILT_INS if language == "en"} == {name for _, name in BUILT_INS}

    def test_each_language_is_one_that_dates_can_be_written_in(self) -> None:
        assert {Locale.parse(language).language for language, _ in BUILT_INS} == {"de", "en", "es"}

    @pytest.mark.parametrize("name", FROM_JOBS)
    def test_what_jobs_queue_is_there_in_every_language(self, name: str) -> None:
        assert {language for language, each in BUILT_INS if each == name} == {"de", "en", "es"}

    @pytest.mark.parametrize("language", ["de", "en", "es"])
    @pytest.mark.parametrize("name", FROM_JOBS)
    def test_text_and_html_tell_all_that_they_are_given(self, name: str, language: str) -> None:
        """The session's time in the reader's zone, and the amount as the reader writes it."""
        rendered = render(name, Reader("Anna", language, "Asia/Kathmandu"), **CONTEXTS[name])
        for part in (rendered.text, rendered.html or ""):
            assert ("18:45 (" in part) == ("starts_at" in CONTEXTS[name])
            assert bool(re.search(r"45[.,]00", part)) == ("amount" in CONTEXTS[name])

    @pytest.mark.parametrize("language", ["de", "en", "es"])
    def test_a_declined_card_has_a_deadline_only_where_there_is_one(self, language: str) -> None:
        context, reader = CONTEXTS["payment-card-declined"], Reader("Anna", language, "UTC")
        made = [
            render("payment-card-declined", reader, **{**context, **changed})
            for changed in ({}, {"part": "extension"}, {"until": None}, {"part": "extension", "until": None})
        ]
        for texts in ([each.text for each in made], [str(each.html) for each in made]):
            assert ["12:00" in each for each in texts] == [True, True, False, False]
            assert len(set(texts)) == len(texts)

    @pytest.mark.parametrize(("language", "together"), [("de", "mit"), ("en", "with"), ("es", "con")])
    def test_a_reminder_leaves_out_the_partner_and_the_link_that_it_lacks(
        self, language: str, together: str
    ) -> None:
        context = CONTEXTS["session-reminder"]
        for partner, link in (("Ben", ""), ("", context["join_url"]), ("", ""), ("Ben", context["join_url"])):
            given = context | {"partner": partner, "join_url": link}
            rendered = render("session-reminder", Reader("Anna", language, None), **given)
            html = rendered.html or ""
            for part in (rendered.subject, rendered.text, html):
                assert (together in re.findall(r"\w+", part)) == bool(partner)
                assert ("Ben" in part) == bool(partner)
                assert "  " not in part.replace("\n", "")
            assert (context["join_url"] in rendered.text, "href=" in html) == (bool(link), bool(link))
            assert rendered.text.rstrip().endswith(link or ".")


class TestLanguages:
    """The reader's own language, then the same without its region, then the default, then English."""

    @pytest.mark.parametrize(
        ("locale", "language"),
        [
            ("de", "de"),
            ("de-AT", "de"),
            ("de_AT", "de"),
            ("DE", "de"),
            ("de-Latn-AT", "de"),
            ("es-MX", "es"),
            ("en-GB", "en"),
            ("fr", "en"),
            ("fr-CA", "en"),
            (None, "en"),
            ("", "en"),
            ("nonsense!", "en"),
        ],
    )
    def test_which_is_chosen(self, locale: str | None, language: str) -> None:
        reader = Reader("Anna", locale, None)
        rendered = render("session-reminder", reader, **CONTEXTS["session-reminder"])
        assert language_of(rendered) == language

    @pytest.mark.parametrize(("locale", "language"), [("fr", "de"), (None, "de"), ("es", "es")])
    def test_default_locale_is_for_whose_language_is_not_there(
        self, locale: str | None, language: str
    ) -> None:
        reader = Reader("Anna", locale, None)
        rendered = render("session-reminder", reader, default="de", **CONTEXTS["session-reminder"])
        assert language_of(rendered) == language

    def test_a_template_that_is_in_english_only(self) -> None:
        rendered = render("weekly-digest", Reader("Anna", "de-AT", None), default="de", experts=["Ben"])
        assert language_of(rendered) == "en"

    def test_a_region_may_have_a_template_of_its_own(self, folder: Path) -> None:
        put_all(folder, "welcome", "Servus", "de-AT")
        assert render("welcome", Reader("A", "de-AT", None), folder=folder).subject == "Servus"
        assert render("welcome", Reader("A", "de_AT", None), folder=folder).subject == "Servus"
        assert render("welcome", Reader("A", "de-DE", None), folder=folder).subject != "Servus"

    @pytest.mark.parametrize("locale", ["../en", "en/../en", "/etc", "..", "en\\..", "%2e%2e"])
    def test_a_locale_with_path_tricks_is_nobodys_language(self, folder: Path, locale: str) -> None:
        put_all(folder.parent, "welcome", "outside", "outside")
        rendered = render("welcome", Reader("Anna", locale, None), folder=folder)
        assert language_of(rendered) == "en"


class TestFolder:
    """TEMPLATES_FOLDER goes first, file by file."""

    @pytest.mark.parametrize("part", ["subject", "text", "html"])
    def test_a_file_is_overridden_alone(self, folder: Path, part: str) -> None:
        suffix = {"subject": "subject.txt", "text": "txt", "html": "html"}[part]
        put(folder, f"en/welcome.{suffix}", "mine")
        ours, built_in = vars(render("welcome", folder=folder)), vars(render("welcome"))
        assert ours == built_in | {part: "mine"}

    def test_another_language_is_left_as_it_is(self, folder: Path) -> None:
        put_all(folder, "welcome", "mine", "en")
        reader = Reader("Anna", "de", None)
        assert render("welcome", reader, folder=folder) == render("welcome", reader)

    def test_the_layout_alone(self, folder: Path) -> None:
        (folder / "layout.html").write_text("<b>mine</b>{% block body %}{% endblock %}")
        rendered = render("welcome", folder=folder)
        assert rendered.html
        assert rendered.html.startswith("<b>mine</b>")
        assert rendered.text == render("welcome").text

    def test_a_template_that_only_it_has(self, folder: Path) -> None:
        put_all(folder, "moved", "{{ recipient.name }}: {{ room }}")
        assert render("moved", folder=folder, room=7) == Rendered("Anna: 7", "Anna: 7", "Anna: 7")

    def test_html_may_be_missing(self, folder: Path) -> None:
        put(folder, "en/moved.subject.txt", "s")
        put(folder, "en/moved.txt", "t")
        assert render("moved", folder=folder) == Rendered("s", "t", None)

    @pytest.mark.parametrize("missing", ["subject.txt", "txt"])
    def test_subject_and_text_may_not(self, folder: Path, missing: str) -> None:
        put_all(folder, "moved", "x")
        (folder / f"en/moved.{missing}").unlink()
        with pytest.raises(RenderError, match=re.escape(f"en/moved.{missing}")):
            render("moved", folder=folder)

    def test_html_whose_layout_is_missing_is_not_html_that_is_missing(self, folder: Path) -> None:
        put_all(folder, "moved", "x")
        put(folder, "en/moved.html", '{% extends "no-such-layout.html" %}')
        with pytest.raises(RenderError, match=r"no-such-layout\.html"):
            render("moved", folder=folder)


class TestNames:
    @pytest.mark.parametrize(
        "name",
        [
            "../en/welcome",
            "en/welcome",
            "/etc/passwd",
            "..",
            ".",
            "",
            "-welcome",
            "welcome.txt",
            "Welcome",
            "welcome\n",
            "wel come",
            "welcome\x00",
            "wélcome",
            "C:welcome",
            "{{ 7 }}",
        ],
    )
    def test_a_name_is_letters_digits_and_hyphens(self, name: str) -> None:
        with pytest.raises(RenderError):
            render(name)

    def test_nothing_outside_the_folders_is_read(self, folder: Path) -> None:
        put_all(folder.parent, "moved", "outside", "en")
        with pytest.raises(RenderError):
            render("moved", folder=folder)


class TestErrors:
    """Each is one sentence that names the template and what is wrong."""

    @pytest.mark.parametrize("part", ["subject.txt", "txt", "html"])
    @pytest.mark.parametrize(
        "content", ["{{ room }}", "{{ recipient.email }}", "{% for x in rooms %}{% endfor %}"]
    )
    def test_what_the_context_lacks_is_an_error_and_not_a_blank(
        self, folder: Path, part: str, content: str
    ) -> None:
        put_all(folder, "moved", "x")
        put(folder, f"en/moved.{part}", content)
        with pytest.raises(RenderError, match=r"undefined|no attribute"):
            render("moved", folder=folder)

    @pytest.mark.parametrize("part", ["subject.txt", "txt", "html"])
    @pytest.mark.parametrize("content", ["{{ room", "{% if %}", "{% endblock %}", "{{ x | no_such_filter }}"])
    def test_a_syntax_error_names_the_file(self, folder: Path, part: str, content: str) -> None:
        put_all(folder, "moved", "x")
        put(folder, f"en/moved.{part}", content)
        with pytest.raises(RenderError, match=re.escape(f"en/moved.{part}")):
            render("moved", folder=folder)

    def test_a_file_that_is_not_utf_8(self, folder: Path) -> None:
        put_all(folder, "moved", "x")
        (folder / "en/moved.txt").write_bytes("Grüße".encode("latin-1"))
        with pytest.raises(RenderError, match="en/moved"):
            render("moved", folder=folder)

    @pytest.mark.parametrize(
        "content",
        [
            "{{ 1 // 0 }}",
            "{{ 'x' + 1 }}",
            "{{ [][0] + 1 }}",
            "{{ 'soon' | instant }}",
            "{{ 7 | day }}",
            "{{ 'free' | money }}",
            "{{ {'minor': 1} | money }}",
            "{{ {'minor': 1.5, 'currency': 'EUR'} | money }}",
        ],
    )
    def test_what_goes_wrong_on_the_way(self, folder: Path, content: str) -> None:
        put_all(folder, "moved", content)
        with pytest.raises(RenderError, match="en/moved"):
            render("moved", folder=folder)

    def test_one_bad_template_leaves_the_others_alone(self, folder: Path) -> None:
        put_all(folder, "moved", "{{ room")
        templates = Templates(folder, "en")
        with pytest.raises(RenderError):
            templates.render("moved", EVERYBODY, {})
        assert templates.render("welcome", EVERYBODY, {}) == render("welcome")


class TestEscaping:
    MARKUP = "<script>alert('1')</script> & \"more\""

    def test_html_is_escaped_and_text_is_not(self, folder: Path) -> None:
        put_all(folder, "moved", "{{ room }}")
        rendered = render("moved", folder=folder, room=self.MARKUP)
        assert rendered.subject == rendered.text == self.MARKUP
        assert rendered.html
        assert not set("<>\"'") & set(rendered.html)

    def test_a_name_cannot_bring_its_own_markup(self) -> None:
        rendered = render("welcome", Reader(self.MARKUP, "en", None))
        assert rendered.html
        assert "<script>" not in rendered.html
        assert self.MARKUP in rendered.text

    def test_what_a_reader_wrote_is_no_template(self) -> None:
        assert render("welcome", Reader("{{ 7 * 7 }}", "en", None)).subject.endswith("{{ 7 * 7 }}")

    def test_the_context_cannot_pose_as_the_recipient(self, folder: Path) -> None:
        put_all(folder, "moved", "{{ recipient.name }}")
        assert render("moved", folder=folder, recipient={"name": "Eve"}).text == "Anna"


class TestInstants:
    """Written for the reader's zone and language, with the zone's place."""

    @pytest.fixture(autouse=True)
    def template(self, folder: Path) -> None:
        put_all(folder, "at", "{{ at | instant }}|{{ at | day }}")

    def written(self, folder: Path, at: str, zone: str | None, locale: str = "en") -> tuple[str, str]:
        instant, _, day = render("at", Reader("A", locale, zone), folder=folder, at=at).text.partition("|")
        return instant, day

    @pytest.mark.parametrize(
        ("at", "zone", "clock"),
        [
            ("2026-11-22T13:00:00+00:00", "UTC", "Sunday, November 22, 2026, 13:00 (UTC)"),
            ("2026-11-22T13:00:00Z", None, "Sunday, November 22, 2026, 13:00 (UTC)"),
            ("2026-11-22T13:00:00", None, "Sunday, November 22, 2026, 13:00 (UTC)"),
            ("2026-11-22T13:00:00+02:00", "UTC", "Sunday, November 22, 2026, 11:00 (UTC)"),
            ("2026-11-22T13:00:00Z", "Asia/Kathmandu", "Sunday, November 22, 2026, 18:45 (Kathmandu)"),
            ("2026-11-22T23:30:00Z", "Asia/Tokyo", "Monday, November 23, 2026, 08:30 (Tokyo)"),
            ("2026-01-01T03:00:00Z", "America/New_York", "Wednesday, December 31, 2025, 22:00 (New York)"),
            ("2026-11-22T13:00:00Z", "Mars/Olympus", "Sunday, November 22, 2026, 13:00 (UTC)"),
            ("2026-11-22T13:00:00Z", "../../etc/passwd", "Sunday, November 22, 2026, 13:00 (UTC)"),
            ("2026-11-22T13:00:00Z", "Europe", "Sunday, November 22, 2026, 13:00 (UTC)"),
        ],
    )
    def test_a_zone(self, folder: Path, at: str, zone: str | None, clock: str) -> None:
        assert self.written(folder, at, zone)[0] == clock

    @pytest.mark.parametrize(
        ("at", "clock"),
        [
            ("2026-03-29T00:59:00Z", "01:59"),
            ("2026-03-29T01:00:00Z", "03:00"),
            ("2026-10-25T00:59:00Z", "02:59"),
            ("2026-10-25T01:00:00Z", "02:00"),
            ("2026-10-25T01:59:00Z", "02:59"),
            ("2026-10-25T02:00:00Z", "03:00"),
        ],
    )
    def test_the_clock_change(self, folder: Path, at: str, clock: str) -> None:
        """In spring an hour is left out, in autumn one comes twice."""
        assert self.written(folder, at, "Europe/Vienna")[0].endswith(f", {clock} (Vienna)")

    @pytest.mark.parametrize(
        ("at", "zone", "day"),
        [
            ("2026-11-22T23:30:00Z", "UTC", "November 22, 2026"),
            ("2026-11-22T23:30:00Z", "Asia/Tokyo", "November 23, 2026"),
            ("2026-01-01T03:00:00Z", "America/New_York", "December 31, 2025"),
        ],
    )
    def test_a_day_is_the_readers_day(self, folder: Path, at: str, zone: str, day: str) -> None:
        assert self.written(folder, at, zone)[1] == day

    @pytest.mark.parametrize(
        ("locale", "zone", "written"),
        [
            ("de-AT", "Europe/Vienna", "Sonntag, 22. November 2026, 14:00 (Wien)"),
            ("es-MX", "America/Mexico_City", "domingo, 22 de noviembre de 2026, 07:00 (Ciudad de México)"),
        ],
    )
    def test_a_language_has_its_own_words_and_order(
        self, folder: Path, locale: str, zone: str, written: str
    ) -> None:
        put_all(folder, "at", "{{ at | instant }}|{{ at | day }}", locale[:2])
        assert self.written(folder, "2026-11-22T13:00:00Z", zone, locale)[0] == written

    def test_a_day_has_its_languages_words(self, folder: Path) -> None:
        put_all(folder, "at", "{{ at | instant }}|{{ at | day }}", "de")
        day = self.written(folder, "2026-11-22T13:00:00Z", "Europe/Vienna", "de-AT")[1]
        assert day == "22. November 2026"


class TestMoney:
    """Minor units, with as many decimals as the currency has, as the reader's language writes them."""

    @pytest.fixture(autouse=True)
    def template(self, folder: Path) -> None:
        for language in ("en", "de", "ja"):
            put_all(folder, "price", "{{ price | money }}", language)

    def written(self, folder: Path, minor: int, currency: str, locale: str) -> str:
        price = {"minor": minor, "currency": currency}
        written = render("price", Reader("A", locale, None), folder=folder, price=price).text
        return written.replace("\xa0", "")  # of which one edition of the locale data has more than another

    @pytest.mark.parametrize(
        ("minor", "currency", "locale", "written"),
        [
            (4500, "EUR", "en", "€45.00"),
            (4500, "EUR", "de", "45,00€"),
            (4500, "EUR", "de-AT", "€45,00"),
            (123_456_789, "EUR", "en", "€1,234,567.89"),
            (123_456_789, "EUR", "de", "1.234.567,89€"),
            (4500, "JPY", "en", "¥4,500"),
            (4500, "JPY", "de", "4.500¥"),
            (4500, "JPY", "ja", "\uffe54,500"),  # a wide sign, as Japanese writes it
            (4500, "KWD", "en", "KWD4.500"),
            (4500, "KWD", "de", "4,500KWD"),
            (1, "KWD", "en", "KWD0.001"),
            (5, "EUR", "en", "€0.05"),
            (0, "EUR", "en", "€0.00"),
            (-4500, "EUR", "en", "-€45.00"),
        ],
    )
    def test_an_amount(self, folder: Path, minor: int, currency: str, locale: str, written: str) -> None:
        assert self.written(folder, minor, currency, locale) == written

    def test_not_a_cent_is_lost_however_much_it_is(self, folder: Path) -> None:
        for minor in (9_007_199_254_740_993, 99_999_999_999_999_999, 12_345_678_901_234_567):
            written = self.written(folder, minor, "EUR", "en")
            assert int(re.sub(r"[^0-9]", "", written)) == minor

    def test_the_language_of_the_text_decides_and_not_the_readers_where_they_differ(
        self, folder: Path
    ) -> None:
        """A French reader of an English text gets English amounts in it."""
        assert self.written(folder, 4500, "EUR", "fr-FR") == "€45.00"
