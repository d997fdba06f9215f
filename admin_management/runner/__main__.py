"""``python -m admin_management.runner``: performs one update, or recovers from a dead one.

Secrets to hide in output come as a JSON list on standard input when the launcher starts it.
"""

import os
import sys

USAGE = """\
usage: python -m admin_management.runner --recover CHECKOUT
       python -m admin_management.runner PLAN LOCK_DESCRIPTOR

--recover  finish or undo what a dead update has left, without the site: for the time before it is
           up. Does nothing while an update is at work. Exit code 0 if the site is whole, 1 if not.

The second form is for the site itself, which starts it in the background; to ask for an update, use
manage.py update_server, the dashboard or POST /admin/update/.
"""


def detach() -> None:
    """Become nobody's child: PM2 finds what it kills by parent pid, a new session is not enough."""
    if os.fork():
        os._exit(0)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--recover", checkout]:
            from admin_management.runner.run import recover_at_boot

            sys.exit(recover_at_boot(checkout))
        case ["--recover", checkout, lock]:
            detach()
            from admin_management.runner.run import recover_in_background

            recover_in_background(checkout, int(lock))
        case [plan, lock] if not plan.startswith("-"):
            detach()
            # Imported here, so that whoever waits for the detaching does not wait for this as
            # well; and all of it before the first step, because the steps replace these files.
            from admin_management.runner.run import main

            main(plan, int(lock))
        case _:
            sys.exit(USAGE)
