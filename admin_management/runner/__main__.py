"""``python -m admin_management.runner PLAN LOCK_DESCRIPTOR``: one run, detached. See launcher.py.

Secrets to hide in output come as a JSON list on standard input.
"""

import os
import sys

USAGE = """\
usage: python -m admin_management.runner PLAN LOCK_DESCRIPTOR

Performs one update in the background. The site starts it; to ask for an update, use
manage.py update_server, the dashboard or POST /admin/update/.
"""


def detach() -> None:
    """Become nobody's child: PM2 finds what it kills by parent pid, a new session is not enough."""
    if os.fork():
        os._exit(0)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(USAGE)
    detach()
    # Imported here, so that whoever waits for the detaching does not wait for this as well; and
    # all of it before the first step, because the steps replace these files.
    from admin_management.runner.run import main

    main(sys.argv[1], int(sys.argv[2]))
