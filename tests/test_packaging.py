"""What is in the wheel that a site installs."""

import subprocess
import sys
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        (sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)),
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (path,) = folder.glob("django_admin_management-*.whl")
    return zipfile.ZipFile(path)


def test_the_wheel_has_all_that_the_packages_have(wheel: zipfile.ZipFile) -> None:
    listing = subprocess.run(
        ("git", "ls-files", "admin_management", "webhooks"),
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    packed = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert packed >= set(listing.stdout.split())


def test_the_wheel_has_templates_static_files_migrations_types_and_the_script(
    wheel: zipfile.ZipFile,
) -> None:
    packed = set(wheel.namelist())
    assert packed >= {
        "admin_management/templates/admin_management/dashboard.html",
        "admin_management/static/admin_management/dashboard.js",
        "admin_management/static/admin_management/origin.js",
        "admin_management/migrations/0001_initial.py",
        "admin_management/py.typed",
        "admin_management/restart_server.sh",
        "webhooks/migrations/0001_initial.py",
        "webhooks/py.typed",
    }


def test_the_packed_script_is_the_script_and_no_link(wheel: zipfile.ZipFile) -> None:
    packed = wheel.read("admin_management/restart_server.sh")
    assert packed == (ROOT / "restart_server.sh").read_bytes()


def test_nothing_of_the_tests_is_packed(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {
        "admin_management",
        "webhooks",
    }


def test_the_optional_dependencies_are_extras(wheel: zipfile.ZipFile) -> None:
    (name,) = (name for name in wheel.namelist() if name.endswith("/METADATA"))
    metadata = message_from_bytes(wheel.read(name))
    required = metadata.get_all("Requires-Dist") or []
    assert sorted(each.split(">")[0] for each in required if "extra" not in each) == [
        "cryptography",
        "django",
        "djangorestframework",
    ]
    assert metadata["Requires-Python"] == ">=3.11"
