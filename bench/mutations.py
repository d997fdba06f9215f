"""Take one guard away at a time, and see a named test fail for want of it. By hand:

    .demo/environment-3.11/bin/python -m bench.mutations [--only WORD] [--write]

Each mutation is made in a copy of the project, as many at once as there are processors. "caught" is
what must be said of every one: its test passes, and fails with it. A mutation whose text is not
found any more is an error, so that the list stays true.
"""

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from bench.report import Report
from demo.tools import ROOT

COPIED = ("admin_management", "webhooks", "demo", "bench", "tests", "pyproject.toml", "README.md")

PATIENCE = 300.0
"""Seconds for a test. One that goes on for ever without the guard has noticed that it is gone."""

PYTEST = (sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--no-header")


@dataclass(frozen=True, slots=True)
class Mutation:
    """In ``file`` the text ``old`` becomes ``new``, and ``test`` must fail."""

    guard: str
    file: str
    old: str
    new: str
    test: str


RUNNER = "admin_management/runner"

MUTATIONS = (
    Mutation(
        "a revision that was rolled back is quarantined",
        f"{RUNNER}/pipeline.py",
        "    if is_bad:\n",
        "    if False:\n",
        "tests/runner/test_rollback.py::test_a_rolled_back_revision_is_not_tried_again",
    ),
    Mutation(
        "a process from before the restart proves nothing",
        f"{RUNNER}/proof.py",
        "ours.started < younger_than",
        "False",
        "tests/runner/test_proof.py -k from_before_the_restart",
    ),
    Mutation(
        "another revision proves nothing",
        f"{RUNNER}/proof.py",
        "ours.revision != revision",
        "False",
        "tests/runner/test_proof.py -k not_given_by_another_revision",
    ),
    Mutation(
        "one good answer is not enough",
        f"{RUNNER}/proof.py",
        "good = 0 if last.problem else good + 1",
        "good = good if last.problem else ANSWERS",
        "tests/runner/test_proof.py -k several_good_answers",
    ),
    Mutation(
        "a switch that the server has refused is the end",
        f"{RUNNER}/proof.py",
        'report.get("result") == "refused"',
        "False",
        "tests/runner/test_proof.py -k has_refused_a_switch",
    ),
    Mutation(
        "the soak notices that PM2 had to restart",
        f"{RUNNER}/proof.py",
        "if self._pid() != pid:",
        "if False:",
        "tests/runner/test_proof.py -k notices_that_pm2",
    ),
    Mutation(
        "what may have to be put back is on the disk before anything changes",
        f"{RUNNER}/pipeline.py",
        'self.site.recorder.journal.event("checkpoint", **self.checkpoint.facts())',
        "pass",
        "tests/runner/test_crash_points.py -k a_run_killed_at_any_point",
    ),
    Mutation(
        "a rollback switches the environment back",
        f"{RUNNER}/rollback.py",
        'self._part("undo_dependencies", self._undo_dependencies)',
        "pass",
        "tests/runner/test_rollback.py -k a_step_that_fails_is_undone",
    ),
    Mutation(
        "a rollback collects the old static files",
        f"{RUNNER}/rollback.py",
        'self._part("undo_static_files", self._undo_static_files)',
        "pass",
        "tests/runner/test_rollback.py -k a_step_that_fails_is_undone",
    ),
    Mutation(
        "a rollback reverses what the run has applied",
        f"{RUNNER}/rollback.py",
        'self._part("undo_migrations", self._undo_migrations)',
        "pass",
        "tests/runner/test_rollback.py -k new_processes_that_are_not_healthy",
    ),
    Mutation(
        "a recovery is counted before it is made",
        f"{RUNNER}/recovery.py",
        'journal.event("recovering"',
        'dict(event="recovering"',
        "tests/runner/test_recovery.py -k is_counted_before_it_is_made",
    ),
    Mutation(
        "what a dead runner had started is ended",
        f"{RUNNER}/recovery.py",
        "    end_children(progress)\n    _close_open_step",
        "    _close_open_step",
        "tests/runner/test_recovery.py -k ends_what_the_dead_runner_had_started",
    ),
    Mutation(
        "the launcher hands a dead run to the recovery",
        "admin_management/launcher.py",
        "if _recover(state, lock):",
        "if False:",
        "tests/admin_management/test_launcher.py -k is_handed_to_a_recovery",
    ),
    Mutation(
        "the whole group of a child is ended",
        f"{RUNNER}/process.py",
        "            os.killpg(self.pid, number)",
        "            os.kill(self.pid, number)",
        "tests/runner/test_process.py -k the_time_out_ends_the_whole_group",
    ),
    Mutation(
        "a full disk gives the ballast up",
        f"{RUNNER}/ballast.py",
        "        self.path.unlink(missing_ok=True)\n\n    def _free",
        "        pass\n\n    def _free",
        "tests/runner/test_ballast.py -k what_a_full_disk_has_refused",
    ),
    Mutation(
        "a work tree with local changes is not touched",
        f"{RUNNER}/preconditions.py",
        "    check_clean(plan.checkout, repository)\n",
        "",
        "tests/runner/test_preconditions.py -k local_changes",
    ),
    Mutation(
        "a run that is too far is not cancelled",
        "admin_management/cancelling.py",
        "    if progress.is_proved:",
        "    if False:",
        "tests/admin_management/test_cancelling.py -k new_revision_is_proved",
    ),
    Mutation(
        "a page of another site changes nothing",
        "admin_management/authentication.py",
        "        problem = REFUSED",
        '        problem = ""',
        "tests/admin_management/test_authentication.py -k page_of_another_site",
    ),
    Mutation(
        "a signature is verified",
        "webhooks/github.py",
        "            raise UnverifiedError\n        return right[0]",
        "            return 0\n        return right[0]",
        "tests/webhooks/test_views.py -k a_wrong_signature",
    ),
    Mutation(
        "a short secret verifies nothing",
        "webhooks/github.py",
        "return len(secret.strip()) >= SHORTEST_SECRET",
        "return True",
        "tests/webhooks/test_github.py -k empty_blank_or_short",
    ),
    Mutation(
        "no more than 25 MB are read",
        "webhooks/body.py",
        "            if size > longest:",
        "            if False:",
        "tests/webhooks/test_body.py -k one_byte_more_is_not",
    ),
    Mutation(
        "an event is numbered in a transaction",
        "admin_management/models.py",
        "        if not cursor.db.in_atomic_block:",
        "        if False:",
        "tests/admin_management/test_models.py -k numbers_nothing_outside",
    ),
    Mutation(
        "a replayed push is no other event",
        "webhooks/models.py",
        "        if not known_deliveries.exists(delivery_id, body_sha256):\n",
        "        if True:\n",
        "tests/webhooks/test_replays.py -k no_other_event_either",
    ),
    Mutation(
        "a push that the database refuses is looked up",
        "webhooks/views.py",
        "        with suppress(IntegrityError):\n",
        "        with suppress():\n",
        "tests/webhooks/test_replays.py -k under_another_id_is_recorded",
    ),
    Mutation(
        "a replayed body asks for nothing",
        "webhooks/views.py",
        "is_old = is_known or (",
        "is_old = (",
        "tests/webhooks/test_replays.py -k under_another_id_is_recorded",
    ),
    Mutation(
        "who is refused too often waits",
        "webhooks/views.py",
        "    if TALLY.too_many_from(address):",
        "    if False:",
        "tests/webhooks/test_refusals.py -k too_many_from_one",
    ),
    Mutation(
        "other networks are kept out",
        "webhooks/views.py",
        "    if conf.allowed_networks and not",
        "    if False and not",
        "tests/webhooks/test_refusals.py -k other_networks",
    ),
    Mutation(
        "changes need a permission",
        "admin_management/permissions.py",
        "    if needed is None or request.user.has_perm(needed):",
        "    if True:",
        "tests/admin_management/test_doors.py -k exactly_what_the_table",
    ),
    Mutation(
        "reading needs staff",
        "admin_management/permissions.py",
        "    if not is_staff(request.user):\n        return NOT_STAFF",
        "    if False:\n        return NOT_STAFF",
        "tests/admin_management/test_views.py -k not_staff",
    ),
    Mutation(
        "a token that may read only reads",
        "admin_management/permissions.py",
        "token.scope != Scope.UPDATE",
        "False",
        "tests/admin_management/test_tokens.py -k a_reading_token",
    ),
    Mutation(
        "a token expires and is revoked",
        "admin_management/models.py",
        "self.filter(revoked_at=None, expires_at__gt=timezone.now())",
        "self.all()",
        "tests/admin_management/test_tokens.py -k 'expired or revoked'",
    ),
    Mutation(
        "changes are throttled",
        "admin_management/throttling.py",
        'rate = "30/min"',
        'rate = "30000/min"',
        "tests/admin_management/test_throttling.py -k too_many_changes",
    ),
    Mutation(
        "known secrets are hidden",
        "admin_management/runner/redact.py",
        "            text = self._values.sub(REDACTED, text)",
        "            pass",
        "tests/runner/test_redact.py -k known_value_never_gets_through",
    ),
    Mutation(
        "known secrets are hidden in base64 wherever they begin there",
        "admin_management/runner/redact.py",
        "for before in range(3)",
        "for before in range(1)",
        "tests/runner/test_redact.py -k base64",
    ),
    Mutation(
        "known secrets are hidden in what the settling says",
        "admin_management/runner/run.py",
        "OutputSink(_log, redactor)",
        "OutputSink(_log, Redactor([]))",
        "tests/runner/test_run.py -k settling_says",
    ),
    Mutation(
        "known secrets are hidden in the log of gunicorn",
        "admin_management/serve_gunicorn.py",
        "isinstance(error, AppImportError)",
        "True",
        "tests/serve/test_serve.py -k log_of_gunicorn",
    ),
    Mutation(
        "private keys are hidden",
        "admin_management/runner/redact.py",
        "        return is_hidden",
        "        return False",
        "tests/runner/test_output.py -k private",
    ),
    Mutation(
        "a signature is compared in constant time",
        "webhooks/github.py",
        "bytes_eq(hmac.finalize(), self._signature)",
        "hmac.finalize() == self._signature",
        "tests/webhooks/test_github.py -k all_secrets_are_compared",
    ),
    Mutation(
        "what was undone is not logged as accepted",
        "webhooks/views.py",
        "transaction.on_commit(tell, robust=True)",
        "tell()",
        "tests/webhooks/test_views.py -k leaves_neither_delivery_nor_run",
    ),
    Mutation(
        "the secret of one source does not speak for another",
        "webhooks/sources.py",
        "if self.repository and self.repository.lower()",
        "if False and self.repository.lower()",
        "tests/webhooks/test_sources.py -k does_not_speak",
    ),
    Mutation(
        "a stored secret is of one source",
        "webhooks/keyring.py",
        "if secret.source == source.name:",
        "if True:",
        "tests/webhooks/test_sources.py -k not_accepted_without_sources",
    ),
    Mutation(
        "a stored secret that is too short verifies nothing",
        "webhooks/keyring.py",
        "if is_usable(value):",
        "if True:",
        "tests/webhooks/test_secrets.py -k too_short_is_as_good_as_none",
    ),
    Mutation(
        "stored secrets are encrypted",
        "webhooks/models.py",
        "sealed=seal(value)",
        "sealed=value",
        "tests/webhooks/test_secrets.py -k nowhere_in_the_clear",
    ),
    Mutation(
        "a remote with a credential in its address is refused",
        f"{RUNNER}/preconditions.py",
        "check_remote_address(plan.remote, repository)",
        "pass",
        "tests/runner/test_preconditions.py -k credential",
    ),
    Mutation(
        "the site's secrets do not reach a tool",
        f"{RUNNER}/variables.py",
        'if name in _NAMES or name.startswith("LC_")',
        "if name",
        "tests/runner/test_variables.py -k do_not_reach_a_tool",
    ),
    Mutation(
        "git runs no hook",
        f"{RUNNER}/git.py",
        '    "core.hooksPath=/dev/null",\n',
        "",
        "tests/runner/test_git.py tests/runner/test_pipeline.py -k hook",
    ),
    Mutation(
        "our folders are private",
        f"{RUNNER}/state.py",
        "folder.mkdir(mode=0o700, exist_ok=True)",
        "folder.mkdir(exist_ok=True)",
        "tests/runner/test_state.py -k private",
    ),
    Mutation(
        "our files are private",
        f"{RUNNER}/state.py",
        "return os.open(path, flags, 0o600)",
        "return os.open(path, flags, 0o644)",
        "tests/runner/test_state.py -k private",
    ),
    Mutation(
        "pages and refusals have our headers",
        "admin_management/staff_page.py",
        "            protect(response)\n",
        "",
        "tests/admin_management/test_headers.py -k alike",
    ),
    Mutation(
        "the dashboard's forms need their token",
        "admin_management/staff_page.py",
        "        @csrf_protect\n",
        "",
        "tests/admin_management/test_headers.py -k without_its_token",
    ),
    Mutation(
        "with REQUIRE_ORIGIN a change says where it comes from",
        "admin_management/authentication.py",
        "    return AdminManagementSettings.load().require_origin\n",
        "    return False\n",
        "tests/admin_management/test_origin.py -k without_either_header",
    ),
    Mutation(
        "with RECENT_LOGIN an old session does not go back",
        "admin_management/authentication.py",
        "request.session.get(LOGIN_AT, 0) > longest",
        "request.session.get(LOGIN_AT, 0) < 0",
        "tests/admin_management/test_recent_login.py -k long_after",
    ),
    Mutation(
        "the same Idempotency-Key is the same run",
        "admin_management/asking.py",
        "        if is_new:\n",
        "        if True:\n",
        "tests/admin_management/test_idempotency.py -k gets_the_same_run",
    ),
    Mutation(
        "events of the audit log do not change",
        "admin_management/models.py",
        '        if not kwargs.get("force_insert"):\n            raise AppendOnlyError',
        "        if False:\n            raise AppendOnlyError",
        "tests/admin_management/test_audit.py -k no_way_round_the_manager",
    ),
    Mutation(
        "only signed commits go live",
        "admin_management/runner/pipeline.py",
        "                check_signature(site)",
        "                pass",
        "tests/runner/test_signatures.py -k a_run_ends",
    ),
    Mutation(
        "an expired key does not sign with an old date",
        f"{RUNNER}/signatures.py",
        "done.returncode == 0",
        "True",
        "tests/runner/test_signatures.py -k made_before",
    ),
    Mutation(
        "no other site has the remote asked",
        "admin_management/asking.py",
        ', as_method="POST"',
        "",
        "tests/admin_management/test_views.py -k has_nobody_ask_the_remote",
    ),
    Mutation(
        "a form that comes from another site is refused, token or not",
        "admin_management/staff_page.py",
        "                    or _from_elsewhere(request)\n",
        "",
        "tests/admin_management/test_origin.py -k with_the_token_of_a_form",
    ),
    Mutation(
        "no other site has a token made",
        "admin_management/admin.py",
        "        _require_own_page(request)\n        return super().changeform_view",
        "        return super().changeform_view",
        "tests/admin_management/test_origin.py -k has_a_token_made",
    ),
    Mutation(
        "threads write one after the other",
        "webhooks/views.py",
        "TURN.acquire(timeout=LONGEST_WAIT)",
        "False",
        "tests/webhooks/test_views.py -k threads_write_one_after_the_other",
    ),
    Mutation(
        "what others have written does not obey who reads the log",
        "admin_management/plain.py",
        "    if character.isprintable():",
        "    if True:",
        "tests/admin_management/test_free_texts.py -k a_name_and_a_reason_at_the_shell",
    ),
    Mutation(
        "a deploy key that others can read is told",
        "admin_management/deploy_key.py",
        "if status.st_uid == os.getuid() and mode & 0o077:",
        "if False:",
        "tests/admin_management/test_doctor.py -k that_ssh_refuses_is_a_failure",
    ),
    Mutation(
        "a declared length is enough to be refused",
        "webhooks/views.py",
        "    if declared > MAX_SIZE:\n",
        "    if False:\n",
        "tests/webhooks/test_views.py -k declared_is_413",
    ),
    Mutation(
        "what the browser says of a request's site counts",
        "admin_management/authentication.py",
        'return headers.fetch_site in ("same-origin", "none")',
        "return True",
        "tests/admin_management/test_authentication.py -k other_word_of_the_browser",
    ),
    Mutation(
        "a wish can need a permission of its own",
        "admin_management/permissions.py",
        "    if missing:\n",
        "    if False:\n",
        "tests/admin_management/test_permissions.py -k can_need_more_than_the_update",
    ),
    Mutation(
        "the token of a deactivated user opens nothing",
        "admin_management/tokens.py",
        " or not token.user.is_active",
        "",
        "tests/admin_management/test_doors.py -k deactivated",
    ),
    Mutation(
        "a stranger behind the proxy does not keep GitHub out",
        "webhooks/tally.py",
        "        if is_near(address):\n            return False\n",
        "",
        "tests/webhooks/test_refusals.py -k behind_a_proxy",
    ),
    Mutation(
        "nor one at an address that GitHub has delivered from",
        "webhooks/tally.py",
        " and not newest_deliveries_from.exists(sender)",
        "",
        "tests/webhooks/test_refusals.py -k where_verified_deliveries",
    ),
    Mutation(
        "what is known of a delivery's body is asked under any id",
        "webhooks/models.py",
        "self.filter(Q(delivery_id=delivery_id) | brought_it)",
        "self.filter(Q(delivery_id=delivery_id))",
        "tests/webhooks/test_replays.py -k under_another_id_is_recorded",
    ),
    Mutation(
        "nor does a body that led to no run pass for news",
        "webhooks/views.py",
        "(earlier.led_to_a_run or bool(new.reason))",
        "earlier.led_to_a_run",
        "tests/webhooks/test_replays.py -k asked_for_nothing_is_a_replay",
    ),
    Mutation(
        "nor an old ping for the last one",
        "webhooks/views.py",
        "elif own and not earlier and own.outcome",
        "elif own and own.outcome",
        "tests/webhooks/test_replays.py -k old_ping",
    ),
    Mutation(
        "replays tell of no sender that GitHub delivers from there",
        "webhooks/models.py",
        "Delivery.objects.exclude(outcome=Outcome.REPLAYED).order_by",
        "Delivery.objects.order_by",
        "tests/webhooks/test_refusals.py -k replays_one_of_its_deliveries",
    ),
    Mutation(
        "who is refused often is not forgotten for many who were refused once",
        "webhooks/models.py",
        'order_by("-count", "-minute", "-id")',
        'order_by("-minute", "-id")',
        "tests/webhooks/test_refusals.py -k refused_often_is_not_forgotten",
    ),
    Mutation(
        "a remote with a password in its address is not polled",
        "admin_management/polling.py",
        "    check_remote_address(conf.remote, repository)\n",
        "",
        "tests/admin_management/test_polling.py -k holds_a_password",
    ),
    Mutation(
        "the remote is not asked without end",
        "admin_management/asking.py",
        "if not throttle.allow_request(request, None):",
        "if False:",
        "tests/admin_management/test_throttling.py -k not_asked_without_end",
    ),
    Mutation(
        "who asks may be bytes that are no text",
        "admin_management/launcher.py",
        "storable(self.name)",
        "(self.name)",
        "tests/admin_management/test_free_texts.py -k at_the_shell",
    ),
    Mutation(
        "an old session makes no token",
        "admin_management/admin.py",
        "        require_recent_login(request)\n",
        "",
        "tests/admin_management/test_recent_login.py -k cannot_make_one",
    ),
    Mutation(
        "a key in a message is hidden",
        f"{RUNNER}/redact.py",
        "PATTERNS:\n            text",
        "PATTERNS[1:]:\n            text",
        "tests/runner/test_redact.py -k shape_of_a_secret",
    ),
    Mutation(
        "a key that begins where another ends is hidden",
        f"{RUNNER}/redact.py",
        "0 if ends > begins else",
        "0 if ends >= 0 else",
        "tests/runner/test_output.py -k another_ends",
    ),
    Mutation(
        "after a gap the end of a key tells of its lines before",
        f"{RUNNER}/output.py",
        "            self._keys.skip_to(map(_readable, lines[:LONGEST_KEY]))\n",
        "            pass\n",
        "tests/runner/test_output.py -k gap_has_taken",
    ),
    Mutation(
        "a content type that Django cannot read is no 500",
        "admin_management/apps.py",
        "request_started.connect(discard_unreadable,",
        "request_started.disconnect(discard_unreadable,",
        "tests/admin_management/test_content_type.py -k no_500",
    ),
    Mutation(
        "who may sign is not said by a file of the repository",
        "admin_management/conf.py",
        "        repository = work_tree(repository)\n",
        "        work_tree(repository)\n",
        "tests/admin_management/test_conf.py -k beside_the_site",
    ),
    Mutation(
        "what a killed git has begun to write is taken away",
        f"{RUNNER}/rollback.py",
        "            self._move_away_what_git_had_begun(execution)\n",
        "            pass\n",
        "tests/runner/test_crash_points.py -k git_writes_a_new_file",
    ),
    Mutation(
        "files that stood in the way before stay",
        f"{RUNNER}/rollback.py",
        "                if str(path) not in strays:",
        "                if True:",
        "tests/runner/test_grid.py -k would_not_overwrite",
    ),
)


def is_caught(mutation: Mutation) -> bool:
    """Whether the test fails in a copy with the mutation, and only with it.

    Raises SystemExit if what is taken away is not there.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copy_project(folder)
        path = folder / mutation.file
        before = path.read_text(encoding="utf-8")
        if mutation.old not in before:
            raise SystemExit(f"{mutation.guard}: its text is not in {mutation.file} any more")
        if not passes(mutation.test, folder):
            raise SystemExit(f"{mutation.guard}: {mutation.test} fails without the mutation too")
        path.write_text(before.replace(mutation.old, mutation.new), encoding="utf-8")
        return not passes(mutation.test, folder)


def copy_project(folder: Path) -> None:
    for each in COPIED:
        source = ROOT / each
        (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / each)


def passes(test: str, folder: Path) -> bool:
    """Raises SystemExit if it cannot be executed, or there is no such test."""
    try:
        done = subprocess.run(
            (*PYTEST, *shlex.split(test)),
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
    except subprocess.TimeoutExpired:
        return False
    if done.returncode not in (0, 1):
        raise SystemExit(f"{test} cannot be executed\n{done.stdout}")
    return done.returncode == 0


def take_away(only: str, say: Callable[[str], object]) -> int:
    """How many mutations no test has noticed."""
    chosen = [each for each in MUTATIONS if only in each.guard + each.file]
    missed = 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for mutation, caught in zip(chosen, pool.map(is_caught, chosen), strict=True):
            missed += not caught
            say(f"{'caught' if caught else 'MISSED'}  {mutation.guard}  ({mutation.file})")
    say(f"{missed} missed")
    return missed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="those with this in their guard or file")
    parser.add_argument("--write", action="store_true", help="into bench/results/mutations.txt")
    options = parser.parse_args()
    report = Report()
    missed = take_away(options.only, report.say)
    if options.write:
        report.write("mutations")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
