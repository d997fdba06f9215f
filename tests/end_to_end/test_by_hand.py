"""What docs/operations.md says to type at a shell works as it stands there."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from admin_management.models import Run
from tests.admin_management.conftest import no_runner
from tests.conftest import Checkout
from tests.end_to_end.chromium import address
from tests.webhooks.payloads import SECRET
from webhooks.models import Delivery

__all__ = ("address", "no_runner")

OPERATIONS = Path(__file__).parents[2] / "docs/operations.md"


@pytest.mark.usefixtures("no_runner")
def test_a_push_that_is_signed_by_hand_asks_for_an_update(address: str, checkout: Checkout) -> None:
    text = OPERATIONS.read_text(encoding="utf-8")
    (script,) = re.findall(r"```sh\n(TIP=.*?)```", text, re.DOTALL)

    def type_it() -> object:
        done = subprocess.run(
            ("sh", "-euc", script.replace("http://127.0.0.1:8000", address)),
            cwd=checkout.path,
            env=os.environ | {"GITHUB_WEBHOOK_SECRET": SECRET},
            check=True,
            capture_output=True,
            text=True,
        )
        return json.loads(done.stdout)

    run = type_it()
    assert run == {"outcome": "requested", "reason": "", "run": str(Run.objects.get().pk)}
    assert type_it() == run
    assert Delivery.objects.get().after == checkout.revision()
