"""A host's own settings of Django REST framework change nothing."""

import json
import os
import subprocess
import sys
from io import BytesIO
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from rest_framework.exceptions import ParseError

from admin_management.rest import LARGEST_BODY, JSONObjectParser, Renderer, TooLargeError

HOSTED = ("views", "tokens", "throttling")


def test_the_api_is_the_same_on_a_hostile_host() -> None:
    # In a process of its own: DRF reads most of its settings when it is imported.
    environ = os.environ | {"DJANGO_SETTINGS_MODULE": "tests.admin_management.hostile"}
    environ = {name: value for name, value in environ.items() if not name.startswith("COV")}
    argv = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist")
    done = subprocess.run(
        (*argv, *(str(Path(__file__).with_name(f"test_{each}.py")) for each in HOSTED)),
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(
    st.binary()
    | JSON.map(json.dumps).map(str.encode)
    | st.integers(0, 10).map(lambda more: b'{"a": "%s"}' % (b"x" * (LARGEST_BODY - 14 + more)))
    | st.just(b"[" * 50_000)
)
def test_any_body_is_an_object_that_can_be_sent_back_or_refused(body: bytes) -> None:
    try:
        value = JSONObjectParser().parse(BytesIO(body))
    except TooLargeError:
        assert len(body) > LARGEST_BODY
    except ParseError:
        assert len(body) <= LARGEST_BODY
    else:
        assert isinstance(value, dict)
        assert json.loads(Renderer().render(value)) == value
