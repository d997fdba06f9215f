"""The settings: defaults and wrong values."""

from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings
from hypothesis import given
from hypothesis import strategies as st

from admin_management.conf import DEFAULT_TIMEOUTS, AdminManagementSettings, ExtraStep
from admin_management.exceptions import AdminManagementError, SettingsError

WARM = {"name": "warm_cache", "argv": ["{python}", "manage.py", "warm_cache"], "timeout": 60}


def load(settings: Any, **given: Any) -> AdminManagementSettings:
    settings.ADMIN_MANAGEMENT = given
    return AdminManagementSettings.load()


def test_a_site_that_sets_nothing_has_the_documented_defaults(settings: Any) -> None:
    assert not hasattr(settings, "ADMIN_MANAGEMENT")
    settings.BASE_DIR = Path("/srv/site")
    assert AdminManagementSettings.load() == AdminManagementSettings(
        checkout=Path("/srv/site"),
        remote="origin",
        branch="master",
        pm2_process="student-attendance-django",
        environment=".venv",
        uv="uv",
        pm2="pm2",
        health_url="",
        timeouts={
            "fetch": 60,
            "rehearsal": 900,
            "pull": 30,
            "dependencies": 600,
            "static_files": 300,
            "migrations": 600,
            "restart": 60,
            "proof": 30,
            "soak": 5,
        },
        extra_steps=(),
        rehearse=True,
        linked_files=(".env",),
        require_origin=False,
        recent_login=0,
    )


def test_every_key_can_be_set(settings: Any) -> None:
    conf = load(
        settings,
        CHECKOUT="/srv/other",
        REMOTE="upstream",
        BRANCH="main",
        PM2_PROCESS="my site",
        ENVIRONMENT="env",
        UV="/opt/uv",
        PM2="/opt/pm2",
        HEALTH_URL="/healthz/?deep=1",
        TIMEOUTS={"migrations": 1800, "restart": 0.5},
        EXTRA_STEPS=[WARM | {"after": "migrations"}],
        REHEARSE=False,
        LINKED_FILES=["conf/local.toml"],
        ALLOWED_SIGNERS="/etc/site/allowed_signers",
        REQUIRE_ORIGIN=True,
        RECENT_LOGIN=900,
    )
    assert (conf.checkout, conf.remote, conf.branch) == (Path("/srv/other"), "upstream", "main")
    assert (conf.pm2_process, conf.environment) == ("my site", "env")
    assert (conf.uv, conf.pm2) == ("/opt/uv", "/opt/pm2")
    assert conf.health_url == "/healthz/?deep=1"
    assert (conf.rehearse, conf.linked_files) == (False, ("conf/local.toml",))
    assert conf.allowed_signers == "/etc/site/allowed_signers"
    assert (conf.require_origin, conf.recent_login) == (True, 900)
    assert conf.timeouts == {**DEFAULT_TIMEOUTS, "migrations": 1800, "restart": 0.5}
    assert conf.extra_steps == (
        ExtraStep(
            name="warm_cache",
            argv=("{python}", "manage.py", "warm_cache"),
            timeout=60,
            after="migrations",
        ),
    )


@pytest.mark.parametrize("place", ["signers", "/srv/site/signers", "/srv/x/../site/a", "/a\0b", 5])
def test_who_may_sign_is_not_said_by_what_they_sign(settings: Any, place: object) -> None:
    with pytest.raises(SettingsError, match="ALLOWED_SIGNERS") as raised:
        load(settings, CHECKOUT="/srv/site", ALLOWED_SIGNERS=place)
    assert "outside of the repository" in raised.value.hint


def test_nor_beside_the_site_in_the_same_repository(settings: Any, tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / "site").mkdir()
    with pytest.raises(SettingsError, match="inside the repository"):
        load(settings, CHECKOUT=tmp_path / "site", ALLOWED_SIGNERS=tmp_path / "allowed_signers")


@pytest.mark.parametrize(
    "url",
    [
        *("", "/healthz/", "/healthz/?deep=1", "http://localhost/healthz"),
        *("http://127.0.0.1:8000/healthz/", "https://[::1]:8443/healthz/", "http://127.1.2.3"),
    ],
)
def test_a_health_url_is_a_path_or_on_this_machine(settings: Any, url: str) -> None:
    assert load(settings, HEALTH_URL=url).health_url == url


def test_settings_are_read_when_they_are_used(settings: Any) -> None:
    assert load(settings, BRANCH="one").branch == "one"
    assert load(settings, BRANCH="two").branch == "two"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"BRANHC": "main"}, "ADMIN_MANAGEMENT has an unknown key 'BRANHC'."),
        ({"branch": "main"}, "ADMIN_MANAGEMENT has an unknown key 'branch'."),
        ({5: "main"}, "ADMIN_MANAGEMENT has an unknown key 5."),
        (["BRANCH"], "ADMIN_MANAGEMENT is not a dict."),
        (None, "ADMIN_MANAGEMENT is not a dict."),
        ({"CHECKOUT": "relative"}, "[\"CHECKOUT\"] is 'relative', not an absolute path."),
        ({"CHECKOUT": 5}, '["CHECKOUT"] is 5, not an absolute path.'),
        ({"BRANCH": ""}, "[\"BRANCH\"] is ''."),
        ({"BRANCH": None}, '["BRANCH"] is None.'),
        ({"BRANCH": "-b"}, "[\"BRANCH\"] is '-b'."),
        ({"REMOTE": "--upload-pack=evil"}, "[\"REMOTE\"] is '--upload-pack=evil'."),
        ({"PM2_PROCESS": "a\nb"}, "[\"PM2_PROCESS\"] is 'a\\nb'."),
        ({"ENVIRONMENT": 5}, '["ENVIRONMENT"] is 5.'),
        ({"UV": b"uv"}, "[\"UV\"] is b'uv'."),
        ({"PM2": []}, '["PM2"] is [].'),
        ({"HEALTH_URL": None}, '["HEALTH_URL"] is None.'),
        ({"HEALTH_URL": "healthz/"}, "[\"HEALTH_URL\"] is 'healthz/'."),
        ({"HEALTH_URL": "//example.com/"}, "[\"HEALTH_URL\"] is '//example.com/'."),
        ({"HEALTH_URL": "/a b"}, "[\"HEALTH_URL\"] is '/a b'."),
        ({"HEALTH_URL": "/a#b"}, "[\"HEALTH_URL\"] is '/a#b'."),
        ({"HEALTH_URL": "http://example.com/"}, "[\"HEALTH_URL\"] is 'http://example.com/'."),
        ({"HEALTH_URL": "http://10.0.0.1/"}, "[\"HEALTH_URL\"] is 'http://10.0.0.1/'."),
        ({"HEALTH_URL": "http:///healthz/"}, "[\"HEALTH_URL\"] is 'http:///healthz/'."),
        ({"HEALTH_URL": "http://a@localhost/"}, "[\"HEALTH_URL\"] is 'http://a@localhost/'."),
        ({"HEALTH_URL": "http://localhost:x/"}, "[\"HEALTH_URL\"] is 'http://localhost:x/'."),
        ({"HEALTH_URL": "http://[::1/"}, "[\"HEALTH_URL\"] is 'http://[::1/'."),
        ({"HEALTH_URL": "ftp://localhost/"}, "[\"HEALTH_URL\"] is 'ftp://localhost/'."),
        ({"TIMEOUTS": [60]}, '["TIMEOUTS"] is not a dict.'),
        ({"TIMEOUTS": {"fech": 60}}, "[\"TIMEOUTS\"] names an unknown step 'fech'."),
        ({"TIMEOUTS": {"fetch": 0}}, '["TIMEOUTS"] has 0 where seconds belong.'),
        ({"TIMEOUTS": {"fetch": -1}}, '["TIMEOUTS"] has -1 where seconds belong.'),
        ({"TIMEOUTS": {"fetch": "60"}}, "[\"TIMEOUTS\"] has '60' where seconds belong."),
        ({"TIMEOUTS": {"fetch": True}}, '["TIMEOUTS"] has True where seconds belong.'),
        ({"TIMEOUTS": {"fetch": float("nan")}}, '["TIMEOUTS"] has nan where seconds belong.'),
        ({"TIMEOUTS": {"fetch": 86_401}}, '["TIMEOUTS"] has 86401 where seconds belong.'),
        ({"REHEARSE": "no"}, "[\"REHEARSE\"] is 'no'."),
        ({"REHEARSE": None}, '["REHEARSE"] is None.'),
        ({"LINKED_FILES": ".env"}, '["LINKED_FILES"] is not a list.'),
        ({"LINKED_FILES": ["/etc/passwd"]}, "[\"LINKED_FILES\"] has '/etc/passwd'."),
        ({"LINKED_FILES": ["../.env"]}, "[\"LINKED_FILES\"] has '../.env'."),
        ({"LINKED_FILES": [5]}, '["LINKED_FILES"] has 5.'),
        ({"LINKED_FILES": ["a\0b"]}, r"has 'a\x00b'."),
        ({"REQUIRE_ORIGIN": "yes"}, "[\"REQUIRE_ORIGIN\"] is 'yes'."),
        ({"RECENT_LOGIN": -1}, '["RECENT_LOGIN"] has -1 where seconds belong.'),
        ({"RECENT_LOGIN": "900"}, "[\"RECENT_LOGIN\"] has '900' where seconds belong."),
        ({"RECENT_LOGIN": None}, '["RECENT_LOGIN"] has None where seconds belong.'),
        ({"EXTRA_STEPS": WARM}, '["EXTRA_STEPS"] is not a list.'),
        ({"EXTRA_STEPS": ["warm"]}, "[\"EXTRA_STEPS\"] has 'warm'."),
    ],
)
def test_a_wrong_value_is_named(settings: Any, given: Any, said: str) -> None:
    settings.ADMIN_MANAGEMENT = given
    with pytest.raises(SettingsError) as raised:
        AdminManagementSettings.load()
    assert str(raised.value).endswith(said)
    assert raised.value.hint.endswith(".")
    assert isinstance(raised.value, AdminManagementError)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"nmae": "x"}, "has {"),
        ({"name": "-x"}, "is '-x'"),
        ({"name": ""}, "is ''"),
        ({"argv": "manage.py warm_cache"}, "has the argv 'manage.py warm_cache'"),
        ({"argv": []}, "has the argv []"),
        ({"argv": ["sleep", 5]}, "has the argv ['sleep', 5]"),
        ({"argv": ["a\0b"]}, "has the argv ['a\\x00b']"),
        ({"timeout": 0}, "has 0 where seconds belong"),
        ({"timeout": None}, "has None where seconds belong"),
        ({"after": ""}, "does not say where 'warm_cache' belongs"),
        ({"after": "warming"}, "does not say where 'warm_cache' belongs"),
        ({"after": ["fetch"]}, "does not say where 'warm_cache' belongs"),
        ({"before": "restart"}, "does not say where 'warm_cache' belongs"),
        ({"before": None}, "does not say where 'warm_cache' belongs"),
        ({"before": "warming"}, "does not say where 'warm_cache' belongs"),
        ({"name": "fetch"}, "has two steps named 'fetch'"),
    ],
)
def test_a_wrong_step_of_the_sites_own_is_named(
    settings: Any, change: dict[str, Any], said: str
) -> None:
    step = WARM | {"after": "migrations"} | change
    with pytest.raises(SettingsError) as raised:
        load(settings, EXTRA_STEPS=[step])
    assert f'ADMIN_MANAGEMENT["EXTRA_STEPS"] {said}' in str(raised.value)
    assert raised.value.hint


def test_a_step_of_the_sites_own_must_be_whole(settings: Any) -> None:
    for missing in WARM:
        step = {key: value for key, value in WARM.items() if key != missing}
        with pytest.raises(SettingsError, match=r"has \{"):
            load(settings, EXTRA_STEPS=[step | {"after": "fetch"}])


def test_two_steps_of_the_same_name_are_refused(settings: Any) -> None:
    step = WARM | {"before": "restart"}
    with pytest.raises(SettingsError, match="has two steps named 'warm_cache'"):
        load(settings, EXTRA_STEPS=[step, step])


def test_without_base_dir_the_checkout_must_be_set(settings: Any) -> None:
    del settings.BASE_DIR
    with pytest.raises(SettingsError) as raised:
        load(settings)
    assert "manage.py" in raised.value.hint
    assert load(settings, CHECKOUT="/srv/site").checkout == Path("/srv/site")


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
PATHS = st.sampled_from(["/srv/site", "/srv/site/a", "/etc/signers", ".env", "/a\0b", "a\0b"])
WORDS = st.sampled_from(["", "-x", "a b", "a\n"]) | st.text(max_size=5)
VALUES = {
    **dict.fromkeys(("REMOTE", "BRANCH", "PM2_PROCESS", "ENVIRONMENT", "UV", "PM2"), WORDS),
    **dict.fromkeys(("CHECKOUT", "ALLOWED_SIGNERS"), PATHS),
    "HEALTH_URL": PATHS | st.builds("http://{}/{}".format, WORDS, WORDS),
    "TIMEOUTS": st.dictionaries(st.sampled_from(list(DEFAULT_TIMEOUTS)), st.floats()),
    "EXTRA_STEPS": st.lists(
        st.fixed_dictionaries(
            {"name": WORDS, "argv": st.lists(WORDS), "timeout": st.floats(), "after": WORDS}
        )
    ),
    "REHEARSE": st.booleans(),
    "LINKED_FILES": st.lists(PATHS, max_size=3),
    "REQUIRE_ORIGIN": st.booleans(),
    "RECENT_LOGIN": st.floats(),
}


@given(
    st.sampled_from(sorted(VALUES)).flatmap(
        lambda name: st.tuples(st.just(name), VALUES[name] | ANYTHING)
    )
)
def test_any_value_is_fit_for_use_or_named(pair: tuple[str, Any]) -> None:
    with override_settings(ADMIN_MANAGEMENT={"CHECKOUT": "/srv/site"} | dict([pair])):
        try:
            conf = AdminManagementSettings.load()
        except SettingsError as error:
            told = f"{error} {error.hint}"
            conf = None
    if conf is None:
        assert told.startswith(f'ADMIN_MANAGEMENT["{pair[0]}"]')
        return
    words = (conf.remote, conf.branch, conf.pm2_process, conf.environment, conf.uv, conf.pm2)
    assert all(word.isprintable() and not word.startswith("-") and word for word in words)
    assert all(0 < seconds <= 86_400 for seconds in conf.timeouts.values())
    assert list(conf.timeouts) == list(DEFAULT_TIMEOUTS)
    arguments = [word for step in conf.extra_steps for word in step.argv]
    for path in (str(conf.checkout), conf.allowed_signers, *conf.linked_files, *arguments):
        assert "\0" not in path
    assert not conf.allowed_signers.startswith(f"{conf.checkout}/")
    assert 0 <= conf.recent_login <= 86_400
