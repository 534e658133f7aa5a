"""What the lab reads from a machine's apt configuration."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from migrate.errors import GateHeld, Unreachable
from migrate.lab.aptsources import AptSource, parse_deb822, parse_one_line, read_sources
from migrate.lab.mirror import AptSetting, Mirror, candidates, codename_of_debian, debian_mirror
from migrate.lab.releases import Release

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
DEB822 = f"""\
# the distribution
Types: deb deb-src
URIs: http://mirror.example/debian
  http://second.example/debian
Suites: bookworm bookworm-updates
# a comment within a stanza
Components: main contrib
Signed-By: {KEYRING}

Types: deb
URIs: http://mirror.example/security
Suites: bookworm-security
Components: main
signed-by: {KEYRING}

Enabled: no
Types: deb
URIs: http://off.example/debian
Suites: bookworm
Components: main

Types: deb-src
URIs: http://sources.example/debian
Suites: bookworm
Components: main
"""


@pytest.fixture
def apt(tmp_path: Path) -> Path:
    (tmp_path / "sources.list.d").mkdir()
    return tmp_path


def test_deb822_keeps_enabled_binary_stanzas_with_all_their_values() -> None:
    distribution, security = parse_deb822(DEB822, "x.sources")
    assert distribution.uris == ("http://mirror.example/debian", "http://second.example/debian")
    assert distribution.suites == ("bookworm", "bookworm-updates")
    assert distribution.components == ("main", "contrib")
    assert distribution.keyrings == (Path(KEYRING),)
    assert distribution.where == "x.sources:2"
    assert security.signed_by == KEYRING
    assert security.where == "x.sources:10"


def test_deb822_key_within_the_stanza_survives_being_written_again() -> None:
    text = (
        "Types: deb\nURIs: http://mirror.example/debian\nSuites: bookworm\nComponents: main\n"
        "Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mQINBGPL0B\n -----END PGP PUBLIC KEY BLOCK-----\n"
    )
    (source,) = parse_deb822(text, "x")
    assert source.keyrings == ()
    assert "mQINBGPL0B" in source.signed_by
    (again,) = parse_deb822(Mirror((source,), ()).sources_text(), "x")
    assert again == source


def test_one_line_options_and_architectures() -> None:
    text = (
        "# deb http://no.example/debian bookworm main\n"
        f"deb [arch=amd64,arm64 signed-by={KEYRING} check-valid-until=no] "
        "http://mirror.example/debian bookworm main # on\n"
        "deb-src http://no.example/debian bookworm main\n"
        "deb http://mirror.example/flat ./\n"
        "nonsense\n"
    )
    first, flat = parse_one_line(text, "sources.list")
    assert first.architectures == ("amd64", "arm64")
    assert first.serves("arm64")
    assert not first.serves("i386")
    assert first.keyrings == (Path(KEYRING),)
    assert first.options == {"Check-Valid-Until": "no"}
    assert first.where == "sources.list:2"
    assert flat.components == ()


def test_files_are_read_as_apt_does(apt: Path) -> None:
    (apt / "sources.list").write_text("deb http://a.example/debian bookworm main\n")
    (apt / "sources.list.d" / "b.list").write_text("deb http://b.example/debian bookworm main\n")
    (apt / "sources.list.d" / "c.sources").write_text(DEB822)
    (apt / "sources.list.d" / "d.list.disabled").write_text("deb http://d.example/debian bookworm main\n")
    (apt / "sources.list.d" / "e list.list").write_text("deb http://e.example/debian bookworm main\n")
    names = [uri for source in read_sources(apt) for uri in source.uris]
    assert names == [
        "http://a.example/debian", "http://b.example/debian", "http://mirror.example/debian",
        "http://second.example/debian", "http://mirror.example/security",
    ]  # fmt: skip


def test_third_party_and_foreign_architectures_are_no_candidates(apt: Path) -> None:
    (apt / "sources.list").write_text(
        "deb [arch=arm64] http://arm.example/debian bookworm main\n"
        "deb http://vendor.example/linux bookworm stable\n"
        "deb http://vendor.example/pg bookworm-pgdg main\n"
        "deb http://backports.example/debian bookworm-backports main\n"
        "deb cdrom:[Debian]/ bookworm main\n"
        "deb http://mirror.example/debian bookworm main\n"
    )
    assert [(s.uris, s.suites) for s in candidates("amd64", apt)] == [
        (("http://mirror.example/debian",), ("bookworm",))
    ]


@pytest.mark.parametrize("release", Release)
def test_another_release_of_debian_leads_to_the_hosts_release(apt: Path, release: Release) -> None:
    (apt / "sources.list").write_text(
        "deb http://mirror.example/debian trixie main\n"
        "deb http://mirror.example/security trixie-security main\n"
        "deb http://mirror.example/old bullseye/updates main\n"
        "deb http://mirror.example/debian stable main\n"
    )
    name = release.codename
    assert sorted((s.uris[0], s.suites[0]) for s in candidates("amd64", apt, release=release)) == [
        ("http://mirror.example/debian", name),
        ("http://mirror.example/old", f"{name}-security"),
        ("http://mirror.example/security", f"{name}-security"),
    ]


def test_mirror_lists_in_files_are_followed(apt: Path, tmp_path: Path) -> None:
    listed = tmp_path / "mirrors.list"
    listed.write_text("# ours\nhttp://near.example/debian\tpriority:1\nhttps://far.example/debian\n")
    (apt / "sources.list").write_text(f"deb mirror+file:{listed} bookworm main\n")
    assert [s.uris[0] for s in candidates("amd64", apt)] == ["http://near.example/debian", "https://far.example/debian"]


def release(codename: str, origin: str = "Debian") -> str:
    return f"-----BEGIN PGP SIGNED MESSAGE-----\n\nOrigin: {origin}\nLabel: {origin}\nCodename: {codename}\nDate: x\n"


@pytest.mark.parametrize(
    ("text", "codename"),
    [(release("bookworm"), "bookworm"), (release("bookworm", "Vendor"), ""), ("", ""), ("<html>blocked</html>", "")],
)
def test_only_debian_itself_counts(text: str, codename: str) -> None:
    assert codename_of_debian(text) == codename


@pytest.fixture
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> Iterator[AptSetting]:
        return iter(())

    monkeypatch.setattr("migrate.lab.mirror.apt_settings", none)


def test_the_first_source_that_answers_is_taken_and_missing_security_is_no_fault(apt: Path, no_settings: None) -> None:
    (apt / "sources.list").write_text(
        "deb http://dead.example/debian bookworm main\n"
        "deb http://vendor.example/debian bookworm main\n"
        "deb http://mirror.example/debian bookworm main\n"
        "deb http://dead.example/security bookworm-security main\n"
    )
    answers = {"http://mirror.example/debian": release("bookworm"), "http://vendor.example/debian": release("x", "V")}
    mirror = debian_mirror("amd64", apt, probe=lambda uri, suite: answers.get(uri))
    assert [(s.uris, s.suites) for s in mirror.sources] == [(("http://mirror.example/debian",), ("bookworm",))]


def test_a_mirror_is_asked_for_the_release_that_is_wanted(apt: Path, no_settings: None) -> None:
    (apt / "sources.list.d" / "debian.sources").write_text(DEB822)
    asked: list[tuple[str, str]] = []

    def probe(uri: str, suite: str) -> str:
        asked.append((uri, suite))
        return release("bookworm" if "second" in uri else suite)

    mirror = debian_mirror("amd64", apt, release=Release.TRIXIE, probe=probe)
    assert {suite for _, suite in asked} == {"trixie", "trixie-updates", "trixie-security"}
    assert [(s.uris, s.suites, s.signed_by) for s in mirror.sources] == [
        (("http://mirror.example/debian",), ("trixie",), KEYRING),
        (("http://mirror.example/debian",), ("trixie-updates",), KEYRING),
        (("http://mirror.example/security",), ("trixie-security",), KEYRING),
    ]


def test_a_mirror_without_the_wanted_release_is_said_with_its_name(apt: Path, no_settings: None) -> None:
    (apt / "sources.list").write_text("deb http://mirror.example/debian bookworm main\n")
    with pytest.raises(Unreachable, match="answers as Debian trixie"):
        debian_mirror("amd64", apt, release=Release.TRIXIE, probe=lambda uri, suite: release("bookworm"))


def test_no_source_and_no_answer_are_two_faults(apt: Path, no_settings: None) -> None:
    with pytest.raises(GateHeld, match="knows no source"):
        debian_mirror("amd64", apt, probe=lambda uri, suite: None)
    (apt / "sources.list").write_text("deb http://dead.example/debian bookworm main\n")
    with pytest.raises(Unreachable, match="no configured package mirror answers") as fault:
        debian_mirror("amd64", apt, probe=lambda uri, suite: None)
    assert "http://dead.example/debian" in str(fault.value)


def test_hosts_go_without_a_proxy_that_only_this_machine_reaches() -> None:
    settings = (
        AptSetting("Acquire::http::Proxy", "http://127.0.0.1:3142"),
        AptSetting("Acquire::https::Proxy", "http://proxy.example:3128"),
        AptSetting("Acquire::Retries", "3"),
    )
    mirror = Mirror((), settings)
    assert "127.0.0.1" in mirror.settings_text(for_hosts=False)
    assert mirror.settings_text(for_hosts=True) == (
        'Acquire::https::Proxy "http://proxy.example:3128";\nAcquire::Retries "3";\n'
    )


def test_keyrings_and_certificates_come_along_when_they_exist(tmp_path: Path) -> None:
    keyring, certificate = tmp_path / "own.gpg", tmp_path / "own.crt"
    keyring.write_bytes(b"key")
    certificate.write_bytes(b"certificate")
    source = AptSource(
        "x", ("http://m.example",), ("bookworm",), ("main",), signed_by=f"{keyring}, {tmp_path}/none.gpg"
    )
    settings = (AptSetting("Acquire::https::CAInfo", str(certificate)),)
    assert Mirror((source,), settings).files() == [certificate, keyring]
