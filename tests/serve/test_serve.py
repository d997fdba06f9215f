"""The server that PM2 runs: real gunicorn, real sockets, and not one bad answer."""

import os
import re
import signal
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.runner.awaiting import Pipe
from tests.serve.conftest import make_environment
from tests.serve.site import ServedSite, site_files
from tests.serve.steady import Visitors, in_background

WORKERS = [
    pytest.param(("--workers", "2"), id="sync"),
    pytest.param(("--workers", "2", "--threads", "4"), id="gthread"),
]

BAD_VERSIONS = [
    pytest.param({"wsgi": "import no_such_module"}, "no_such_module", id="does not import"),
    pytest.param({"settings": "1 / 0"}, "ZeroDivisionError", id="settings do not import"),
    pytest.param({"urls": "import no_such_module"}, "no_such_module", id="urls do not import"),
    pytest.param(
        {"settings": 'MIDDLEWARE = ["no.such"]'}, "No module named 'no'", id="no middleware"
    ),
    pytest.param(
        {
            "settings": 'ADMIN_MANAGEMENT = {"HEALTH_URL": "/own/"}',
            "own": "raise KeyError(7)",
        },
        "/own/ answered 500 Internal Server Error (KeyError: 7)",
        id="health 500",
    ),
    pytest.param(
        {"settings": 'ADMIN_MANAGEMENT = {"BRANHC": "main"}'},
        "SettingsError: ADMIN_MANAGEMENT has an unknown key 'BRANHC'",
        id="wrong settings",
    ),
    pytest.param(
        {"wsgi": "import signal; os.kill(os.getppid(), signal.SIGKILL)"},
        "gunicorn ended with exit code 137",
        id="dies",
    ),
]


class TestASwitch:
    @pytest.mark.parametrize("workers", WORKERS)
    def test_loses_none_of_1000_requests_and_mixes_no_versions(
        self, site: ServedSite, workers: tuple[str, ...]
    ) -> None:
        site.start(*workers)
        with Visitors(site.port, rate=50, at_most=1000) as visitors:
            visitors.wait_for(100)
            site.commit(site_files("2"))
            site.switch()
            site.wait_for_line(r"serve: switched \(attempt 2\)")
            visitors.wait_for(1000)
        assert visitors.lost == []
        assert visitors.bodies == {"1 1 1", "2 2 2"}
        assert visitors.answers[-1].body == "2 2 2"

    def test_gives_no_new_answer_before_all_workers_are_good(self, site: ServedSite) -> None:
        """The second worker of the new generation waits for the test when it is imported."""
        site.start()
        gate = Pipe(site.path / ".git" / "import")
        first = "fcntl.flock(os.open('.git/one', os.O_CREAT | os.O_RDWR), 6)"
        wait = (
            f"import fcntl\ntry:\n    {first}\n"
            "except BlockingIOError:\n    os.read(os.open('.git/import', os.O_RDONLY), 6)"
        )
        site.commit(site_files("2", wsgi=wait))
        site.switch()
        site.wait_for_line("Booting worker", count=4)
        with Visitors(site.port, rate=100) as visitors:
            visitors.wait_for(100)
            assert visitors.bodies == {"1 1 1"}
            gate.write("go on")
            site.wait_for_line("serve: switched")
            visitors.wait_for_more(50)
        gate.close()
        assert visitors.lost == []
        assert visitors.answers[-1].body == "2 2 2"

    def test_is_recorded(self, site: ServedSite) -> None:
        site.start()
        first = site.report()
        assert first == first | {"generation": 1, "attempt": 1, "result": "started", "reason": ""}
        site.switch()
        site.wait_for_line("serve: switched")
        second = site.report()
        assert second == second | {
            "pid": site.server.pid,
            "bind": first["bind"],
            "generation": 2,
            "attempt": 2,
            "result": "switched",
            "problem": "",
            "reason": "",
        }
        assert first["at"] < second["begun_at"] < second["at"]

    def test_that_cannot_be_recorded_is_done_all_the_same(self, site: ServedSite) -> None:
        site.start()
        (site.path / ".git" / "admin-management" / "serve.json.new").mkdir()
        site.switch()
        site.wait_for_line("serve: this could not be recorded: ")
        site.wait_for_line(r"serve: switched \(attempt 2\)")

    def test_is_seen_in_the_identity_of_who_answers(self, site: ServedSite) -> None:
        site.start()
        before = site.identity()
        revision = site.commit(site_files("2"))
        assert site.identity()["revision"] == before["revision"] != revision
        site.switch()
        site.wait_for_line("serve: switched")
        site.wait_for_line("Shutting down: Master")
        after = site.identity()
        assert after["revision"] == revision
        assert after["boot_ticks"] > before["boot_ticks"]
        assert after["started_at"] > before["started_at"]
        assert after["pid"] in site.workers()

    def test_answers_what_was_in_flight(self, site: ServedSite, begun: Pipe, go: Pipe) -> None:
        site.start()
        answers: list[tuple[int, str]] = []
        visit = in_background(lambda: answers.append(site.get("/hold/")))
        worker = site.watch(int(begun.line()))
        site.switch()
        site.wait_for_line("serve: switched")
        assert worker.is_alive
        go.write("answered by the old one")
        visit.join(60)
        assert answers == [(200, "answered by the old one")]
        assert worker.ends()

    def test_takes_up_new_variables_configuration_and_hooks(self, site: ServedSite) -> None:
        hook = 'import os\ndef post_worker_init(worker): os.environ["HOOK"] = "{0}"\n'
        config = "workers = {0}\nraw_env = ['FROM_CONFIGURATION={0}']\n" + hook
        dotenv = "import os\nos.environ.update([(BASE_DIR / '.env').read_text().split('=')])"
        site.commit(site_files("1", settings=dotenv))
        site.write({"gunicorn.conf.py": config.format(1), ".env": "FROM_FILE=1"})
        site.start("--log-level", "info")
        names = ("FROM_CONFIGURATION", "FROM_FILE", "HOOK")
        assert [site.get(f"/variable/{name}/")[1] for name in names] == ["1", "1", "1"]
        assert len(site.workers()) == 1
        site.write({"gunicorn.conf.py": config.format(3), ".env": "FROM_FILE=3"})
        site.switch()
        site.wait_for_line("serve: switched")
        site.wait_for_line("Shutting down: Master")
        assert [site.get(f"/variable/{name}/")[1] for name in names] == ["3", "3", "3"]
        assert len(site.generation(2)) == 4

    def test_takes_up_a_switched_environment(self, site: ServedSite, tmp_path: Path) -> None:
        for name in ("one", "two"):
            make_environment(tmp_path / name, name)
        site.commit(site_files("1", urls=_says_environment()))
        link = site.path / ".venv"
        link.symlink_to(tmp_path / "one")
        site.python = str(link / "bin" / "python")
        site.start()
        assert site.get("/environment/")[1] == "one"
        link.unlink()
        link.symlink_to(tmp_path / "two")
        site.switch()
        site.wait_for_line("serve: switched")
        site.wait_for_line("Shutting down: Master")
        assert site.get("/environment/")[1] == "two"

    def test_that_is_asked_for_during_a_switch_follows_it_once(self, site: ServedSite) -> None:
        site.start()
        site.switch()
        site.wait_for_line("Starting gunicorn", count=2)
        for _ in range(5):
            site.switch()
        site.wait_for_line(r"serve: switched \(attempt 3\)")
        assert site.stop() == 0
        assert site.conclusions() == ["started", "switched", "switched"]


def _says_environment() -> str:
    return (
        "import this_environment\n"
        'urlpatterns.append(path("environment/", '
        "lambda request: HttpResponse(this_environment.NAME)))"
    )


class TestABadVersion:
    @pytest.mark.parametrize(("more", "reason"), BAD_VERSIONS)
    def test_gives_no_answer_and_the_old_one_goes_on(
        self, site: ServedSite, more: dict[str, str], reason: str
    ) -> None:
        site.start()
        (old,) = site.masters()
        with Visitors(site.port) as visitors:
            visitors.wait_for(25)
            site.commit(site_files("2", **more))
            site.switch()
            site.wait_for_line(r"serve: refused \(attempt 2\)")
            visitors.wait_for_more(25)
        assert visitors.bodies == {"1 1 1"}
        report = site.report()
        assert report == report | {
            "generation": 1,
            "attempt": 2,
            "result": "refused",
            "problem": "code",
        }
        assert reason in str(report["reason"])
        assert old in site.masters()

    def test_whose_environment_is_gone_cannot_be_started(
        self, site: ServedSite, tmp_path: Path
    ) -> None:
        make_environment(tmp_path / "one", "one")
        link = site.path / ".venv"
        link.symlink_to(tmp_path / "one")
        site.python = str(link / "bin" / "python")
        site.start()
        link.unlink()
        site.switch()
        site.wait_for_line(r"serve: refused \(attempt 2\): gunicorn cannot be started: .*No such")
        assert site.page() == "1 1 1"
        link.symlink_to(tmp_path / "one")
        site.switch()
        site.wait_for_line(r"serve: switched \(attempt 3\)")

    def test_leaves_nothing_behind_and_the_next_good_one_is_taken(self, site: ServedSite) -> None:
        site.start()
        gate = Pipe(site.path / ".git" / "import")
        child = "import subprocess\nchild = subprocess.Popen(['sleep', '1000'])\n"
        tell = "print(child.pid, file=open('.git/import', 'w'), flush=True)\n"
        site.commit(site_files("2", wsgi=f"{child}{tell}1 / 0"))
        site.switch()
        orphan = site.watch(int(gate.line()))
        site.wait_for_line(r"serve: refused \(attempt 2\): ZeroDivisionError")
        assert orphan.ends()
        gate.close()
        site.commit(site_files("3"))
        site.switch()
        site.wait_for_line(r"serve: switched \(attempt 3\)")
        site.wait_for_line("Shutting down: Master", count=1)
        assert site.stop() == 0

    def test_that_does_not_get_ready_in_time_is_ended(self, site: ServedSite) -> None:
        site.start(options=("--timeout", "20"))
        never = Pipe(site.path / ".git" / "never")
        stubborn = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
        site.commit(
            site_files("2", wsgi=f"{stubborn}\nos.read(os.open('.git/never', os.O_RDONLY), 6)")
        )
        site.switch()
        site.wait_for_line("Booting worker", count=4)
        new = [site.watch(pid) for pid in site.generation(2)]
        site.wait_for_line(r"serve: refused .* 0 of 2 workers are ready after 20 s")
        assert site.report()["problem"] == "time-out"
        assert len(new) == 3
        assert all(each.ends() for each in new)
        assert site.page() == "1 1 1"
        never.close()

    def test_does_not_tell_secrets(self, site: ServedSite) -> None:
        site.start(DATABASE_PASSWORD="hunter2-hunter2")
        token = 'PAYMENT_TOKEN = "of-the-payments"'
        tell = "raise OSError(settings.PAYMENT_TOKEN, os.environ['DATABASE_PASSWORD'])"
        site.commit(site_files("2", settings=token, urls=tell))
        site.switch()
        said = site.wait_for_line("serve: refused")
        assert "[REDACTED]" in said
        for told in (said, str(site.report())):
            assert "hunter2" not in told
            assert "payments" not in told

    def test_does_not_tell_secrets_in_the_log_of_gunicorn(self, site: ServedSite) -> None:
        site.start(DATABASE_PASSWORD="hunter2-hunter2")
        key = "-----BEGIN PRIVATE KEY-----\\nMIIEvQIBADAN\\n-----END PRIVATE KEY-----"
        tell = f"raise OSError(os.environ['DATABASE_PASSWORD']) from OSError('{key}')"
        site.commit(site_files("2", wsgi=f"import os; {tell}"))
        site.switch()
        site.wait_for_line("serve: refused .*: OSError: .REDACTED.$")
        site.wait_for_line("Worker exiting")
        said = "\n".join(site.lines)
        assert "NotImportedError: OSError: [REDACTED]" in said
        assert "hunter2" not in said
        assert "MIIE" not in said


class TestADatabaseThatIsDown:
    DOWN = "DATABASES['default']['NAME'] = BASE_DIR / 'no such folder' / 'db'"

    def test_is_told_apart_from_bad_code(self, site: ServedSite) -> None:
        site.start()
        site.commit(site_files("2", settings=self.DOWN))
        site.switch()
        site.wait_for_line("serve: refused .* /admin/health/ answered 503")
        assert site.report()["problem"] == "database"
        assert site.page() == "1 1 1"

    def test_does_not_keep_the_first_server_from_serving(self, site: ServedSite) -> None:
        site.commit(site_files("1", settings=self.DOWN))
        site.start()
        site.wait_for_line("serve: this is served only for want of anything better")
        assert site.page() == "1 1 1"
        assert "answered 503" in str(site.report()["reason"])


class TestTheFirstServer:
    def test_that_does_not_import_ends_with_the_exit_code_of_gunicorn(
        self, site: ServedSite
    ) -> None:
        site.commit(site_files("1", settings="1 / 0"))
        site.launch()
        # It is 1 when gunicorn notices the end of the second worker while it ends the first.
        assert site.wait() in (1, 3)
        report = site.report()
        assert (report["result"], report["generation"]) == ("refused", None)
        assert "ZeroDivisionError" in str(report["reason"])

    def test_that_answers_500_serves_all_the_same(self, site: ServedSite) -> None:
        site.commit(site_files("1", urls="1 / 0"))
        site.start()
        assert site.get()[0] == 500
        assert "ZeroDivisionError" in str(site.report()["reason"])

    def test_is_let_in_though_not_all_of_it_is_ready_in_time(self, site: ServedSite) -> None:
        never = Pipe(site.path / ".git" / "never")
        wait = (
            "import fcntl\ntry:\n"
            "    fcntl.flock(os.open('.git/one', os.O_CREAT | os.O_RDWR), 6)\n"
            "except BlockingIOError:\n    os.read(os.open('.git/never', os.O_RDONLY), 6)"
        )
        site.commit(site_files("1", wsgi=wait))
        site.start(options=("--timeout", "5"))
        assert re.match("[01] of 2 workers are ready after 5 s", str(site.report()["reason"]))
        assert site.page() == "1 1 1"
        never.close()

    def test_of_a_folder_outside_of_git_serves_and_records_nothing(
        self, site: ServedSite, tmp_path: Path
    ) -> None:
        (site.path / ".git").rename(tmp_path / "elsewhere")
        site.launch()
        site.wait_for_line("serve: nothing will be recorded: .* not inside a git work tree")
        site.wait_for_line("serve: started")
        assert site.stop() == 0


class TestAWorkerThatComesLater:
    def test_is_like_the_others(self, site: ServedSite) -> None:
        site.start("--workers", "1")
        before = int(site.get("/pid/")[1])
        os.kill(before, signal.SIGKILL)
        site.wait_for_line("Booting worker", count=2)
        assert site.get("/pid/")[1] != str(before)
        assert site.page() == "1 1 1"

    def test_of_a_commit_that_is_bad_does_not_serve_and_the_others_do(
        self, site: ServedSite
    ) -> None:
        site.start()
        site.commit(site_files("2", own="raise KeyError(7)", settings=own_address()))
        victim = site.watch(site.workers()[0])
        os.kill(victim.pid, signal.SIGKILL)
        site.wait_for_line(r"serve: a worker is not good: /own/ answered 500", count=2)
        with Visitors(site.port) as visitors:
            visitors.wait_for(25)
        assert visitors.bodies == {"1 1 1"}
        site.commit(site_files("3"))
        site.switch()
        site.wait_for_line("serve: switched")

    def test_that_does_not_import_does_not_end_the_others(self, site: ServedSite) -> None:
        site.start()
        site.commit(site_files("2", wsgi="1 / 0"))
        os.kill(site.workers()[0], signal.SIGKILL)
        site.wait_for_line(r"serve: a worker is not good: ZeroDivisionError", count=2)
        with Visitors(site.port) as visitors:
            visitors.wait_for(25)
        assert visitors.bodies == {"1 1 1"}

    def test_of_the_same_commit_serves_though_it_is_not_well(self, site: ServedSite) -> None:
        flag = "assert not (settings.BASE_DIR / '.git/ill').exists(); return HttpResponse()"
        site.commit(site_files("1", own=flag, settings=own_address()))
        site.start("--workers", "1")
        (site.path / ".git" / "ill").touch()
        os.kill(site.workers()[0], signal.SIGKILL)
        site.wait_for_line("serve: a worker is not good: /own/ answered 500")
        assert site.page() == "1 1 1"


def own_address() -> str:
    return 'ADMIN_MANAGEMENT = {"HEALTH_URL": "/own/"}'


class TestTheEnd:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_is_graceful(
        self, site: ServedSite, begun: Pipe, go: Pipe, number: signal.Signals
    ) -> None:
        site.start()
        answers: list[tuple[int, str]] = []
        visit = in_background(lambda: answers.append(site.get("/hold/")))
        begun.line()
        site.send(number)
        site.wait_for_line("Handling signal: term")
        go.write("answered")
        visit.join(60)
        assert answers == [(200, "answered")]
        assert site.wait() == 0

    def test_is_quick_when_it_is_asked_for_twice(
        self, site: ServedSite, begun: Pipe, go: Pipe
    ) -> None:
        site.start()
        visit = in_background(lambda: _ignoring_errors(lambda: site.get("/hold/")))
        begun.line()
        site.send(signal.SIGTERM)
        site.wait_for_line("Handling signal: term")
        assert site.stop() == 0
        visit.join(60)

    def test_during_a_switch_ends_both(self, site: ServedSite) -> None:
        site.start()
        never = Pipe(site.path / ".git" / "never")
        site.commit(site_files("2", wsgi="os.read(os.open('.git/never', os.O_RDONLY), 6)"))
        site.switch()
        site.wait_for_line("Booting worker", count=4)
        ended = [site.watch(pid) for pid in site.processes()]
        site.switch()
        site.send(signal.SIGTERM)
        site.wait_for_line("serve: refused .*: the server was told to stop")
        never.write("go on")
        never.write("go on")
        assert site.wait() == 0
        assert all(each.ends() for each in ended)
        assert site.conclusions() == ["started", "refused"]
        assert site.report()["problem"] == "stopped"
        never.close()

    def test_by_force_leaves_no_orphan_and_the_port_free(self, site: ServedSite) -> None:
        site.start()
        port = site.port
        processes = [site.watch(pid) for pid in site.processes()]
        assert len(processes) == 3
        site.send(signal.SIGKILL)
        assert all(each.ends() for each in processes)
        with socket.socket() as free:
            free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            free.bind(("127.0.0.1", port))
        site.wait()

    def test_by_force_in_the_middle_of_a_switch_lets_nobody_in(self, site: ServedSite) -> None:
        site.start()
        never = Pipe(site.path / ".git" / "never")
        site.commit(site_files("2", wsgi="os.read(os.open('.git/never', os.O_RDONLY), 6)"))
        site.switch()
        site.wait_for_line("Booting worker", count=4)
        processes = [site.watch(pid) for pid in site.processes()]
        site.send(signal.SIGKILL)
        never.write("go on")
        never.write("go on")
        assert all(each.ends() for each in processes)
        site.wait()
        never.close()

    def test_of_gunicorn_alone_is_the_end(self, site: ServedSite) -> None:
        site.start()
        workers = [site.watch(pid) for pid in site.workers()]
        os.kill(site.masters()[0], signal.SIGKILL)
        assert site.wait() == 137
        assert any("gunicorn ended by itself with exit code 137" in line for line in site.lines)
        assert all(each.ends() for each in workers)

    def test_of_gunicorn_during_a_switch_is_survived_by_the_new_one(self, site: ServedSite) -> None:
        site.start()
        gate = Pipe(site.path / ".git" / "import")
        site.commit(site_files("2", wsgi="os.read(os.open('.git/import', os.O_RDONLY), 6)"))
        site.switch()
        site.wait_for_line("Booting worker", count=4)
        os.kill(site.masters()[0], signal.SIGKILL)
        site.wait_for_line("gunicorn ended by itself")
        gate.write("go on")
        gate.write("go on")
        site.wait_for_line(r"serve: started \(attempt 2\)")
        assert site.page() == "2 2 2"
        gate.close()


class TestLogFiles:
    def test_are_opened_anew_at_sigusr1(self, site: ServedSite) -> None:
        log = site.path / ".git" / "access.log"
        site.start("--access-logfile", str(log))
        site.page()
        log.rename(log.with_suffix(".1"))
        site.send(signal.SIGUSR1)
        site.wait_for_line("Handling signal: usr1")
        with Visitors(site.port) as visitors:
            visitors.wait_for(25)
        assert site.stop() == 0
        assert log.read_text().count('"GET / HTTP/1.1" 200') > 0


def _ignoring_errors(work: Any) -> None:
    with suppress(OSError):
        work()
