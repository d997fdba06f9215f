"""The tests' settings for a process of its own, with the checkout that a test has made."""

import os

from .settings import *  # noqa: F403

ADMIN_MANAGEMENT = {"CHECKOUT": os.environ["TEST_CHECKOUT"]}
