"""The files in deploy/ work: units are valid and hardened, cron is quiet, a real nginx passes webhooks on."""

# systemd-analyze, sh and openssl from wherever they are installed

import contextlib
import http.client
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import time
from pathlib import Path

import pytest

from flagsmith_warehouse.loader import settings as settings_module
from flagsmith_warehouse.loader.lock import hold
from flagsmith_warehouse.loader.operations import doctor
from tests.loader.server import Server, command, free_port, landed, sign
from tests.operations.conftest import bodies

DEPLOY = settings_module.PROJECT_FOLDER / "deploy"
UNITS = sorted((DEPLOY / "systemd").iterdir())


def needs(program: str):
    """Skip if a program is missing: these tests only use the real one."""
    found = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")
    return pytest.mark.skipif(not found, reason=f"{program} is not installed: apt-get install {program}")


@pytest.fixture
def units(tmp_path):
    """The units, with this checkout instead of /opt, so that systemd finds the commands."""
    for unit in UNITS:
        text = unit.read_text().replace("/opt/flagsmith-warehouse", str(settings_module.PROJECT_FOLDER))
        (tmp_path / unit.name).write_text(text)
    return tmp_path


def test_nginx__idle_connections__closed_by_it_before_the_loader_does():
    """Granian closes an idle connection after 30 s."""
    upstream = re.search(r"upstream .*?^}", (DEPLOY / "nginx.conf").read_text(), re.DOTALL | re.MULTILINE)[0]
    assert int(re.search(r"keepalive_timeout (\d+)s;", upstream)[1]) < 30


@needs("systemd-analyze")
def test_units__systemd_analyze_verify__finds_nothing(units):
    ran = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *[str(units / unit.name) for unit in UNITS]],
        capture_output=True,
        text=True,
        env={**os.environ, "SYSTEMD_LOG_LEVEL": "warning"},
    )
    ours = [line for line in ran.stderr.splitlines() if "flagsmith" in line]
    assert ran.returncode == 0 and not ours, ran.stderr


@needs("systemd-analyze")
@pytest.mark.parametrize("unit", [unit.name for unit in UNITS if unit.suffix == ".service"])
def test_units__systemd_analyze_security__exposure_is_low(units, unit):
    ran = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=20", str(units / unit)],
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stdout[-500:] + ran.stderr


@pytest.mark.parametrize(
    "unit", [unit for unit in UNITS if unit.suffix == ".service"], ids=lambda unit: unit.name
)
def test_units__walls__are_where_the_documentation_says(unit):
    text = unit.read_text()
    for line in (
        "ProtectSystem=strict",
        "NoNewPrivileges=true",
        "User=flagsmith-warehouse",
        "CapabilityBoundingSet=",
    ):
        assert f"\n{line}\n" in text


def test_environment__as_a_shell_and_systemd_read_it__is_what_the_settings_expect(tmp_path):
    shell = "set -a; . ./environment.example; env"
    ran = subprocess.run(["sh", "-c", shell], cwd=DEPLOY, capture_output=True, text=True, check=True)
    environ = dict(line.split("=", 1) for line in ran.stdout.splitlines() if "=" in line)
    assert environ["FLAGSMITH_WEBHOOK_SECRETS_DIR"] == "/etc/flagsmith-warehouse/secrets"
    assert "FLAGSMITH_WEBHOOK_SECRETS" not in environ  # a reload could not change it
    (tmp_path / "production").write_text("the secret of the webhook in Flagsmith\n")
    read = settings_module.read({**environ, "FLAGSMITH_WEBHOOK_SECRETS_DIR": str(tmp_path)})
    assert read.secrets == {"production": (b"the secret of the webhook in Flagsmith",)}
    assert read.warehouse_dir == Path("/var/lib/flagsmith-warehouse")


@pytest.mark.parametrize(("code", "printed"), [(0, ""), (1, "why it failed\n")])
def test_crontab__a_refresh__is_quiet_when_well_and_says_why_when_not(tmp_path, code, printed):
    (line,) = [line for line in (DEPLOY / "crontab").read_text().splitlines() if line.startswith("*/5")]
    times, shell = line.split()[:5], line.split(None, 5)[5]
    assert times == ["*/5", "*", "*", "*", "*"] and "%" not in shell
    refresh = tmp_path / "flagsmith-warehouse"
    refresh.write_text(
        f'#!/bin/sh\ntest "$1$FLAGSMITH_WAREHOUSE_DIR" = refresh/var/lib/x || exit 9\necho why it failed >&2\nexit {code}\n'
    )
    refresh.chmod(0o755)
    (tmp_path / "environment").write_text("FLAGSMITH_WAREHOUSE_DIR='/var/lib/x'\n")
    shell = shell.replace("/opt/flagsmith-warehouse/.venv/bin", str(tmp_path)).replace(
        "/etc/flagsmith-warehouse", str(tmp_path)
    )
    ran = subprocess.run(["sh", "-c", shell], capture_output=True, text=True)
    assert ran.stdout == printed and ran.stderr == ""


def test_refresh__while_another_is_at_work__says_so_and_leaves_at_once(settings, environ):
    with hold(settings.refresh_lock, 0):
        started = time.monotonic()
        ran = command(environ, "refresh")
        assert (ran.returncode, ran.stdout) == (
            0,
            "Another refresh is running, so this one does nothing.\n",
        )
    assert time.monotonic() - started < 30
    assert not settings.warehouse_file.exists()


class Nginx:
    """A real nginx with deploy/nginx.conf, on a free port, with a certificate that it signed itself."""

    def __init__(self, folder: Path, behind: int):
        self.port = free_port()
        self.folder = folder
        key, certificate = folder / "key.pem", folder / "certificate.pem"
        subprocess.run(
            [
                *(
                    "openssl",
                    "req",
                    "-x509",
                    "-newkey",
                    "rsa:2048",
                    "-nodes",
                    "-days",
                    "2",
                    "-subj",
                    "/CN=localhost",
                ),
                *("-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)),
            ],
            check=True,
            capture_output=True,
        )
        site = (DEPLOY / "nginx.conf").read_text()
        for ours, theirs in (
            ("listen 443 ssl", f"listen 127.0.0.1:{self.port} ssl"),
            ("127.0.0.1:8080", f"127.0.0.1:{behind}"),
            ("/etc/ssl/certs/warehouse.example.com.pem", str(certificate)),
            ("/etc/ssl/private/warehouse.example.com.key", str(key)),
        ):
            assert ours in site
            site = site.replace(ours, theirs)
        temporary = "".join(
            f"{name}_temp_path {folder}/{name};\n"
            for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        (folder / "site.conf").write_text(site)
        (folder / "nginx.conf").write_text(
            f"daemon off;\nworker_rlimit_nofile 50000;\nuser {_user()};\npid {folder}/pid;\n"
            f"error_log {folder}/error.log;\nevents {{ worker_connections 20000; }}\n"
            f"http {{\naccess_log off;\n{temporary}include {folder}/site.conf;\n}}\n"
        )
        self.trust = ssl.create_default_context(cafile=certificate)

    def __enter__(self):
        program = shutil.which("nginx") or "/usr/sbin/nginx"
        arguments = [program, "-c", str(self.folder / "nginx.conf"), "-p", str(self.folder)]
        checked = subprocess.run([*arguments, "-t"], capture_output=True, text=True)
        assert checked.returncode == 0 and "[warn]" not in checked.stderr, checked.stderr
        self.process = subprocess.Popen(arguments, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return self
            time.sleep(0.02)
        raise AssertionError((self.folder / "error.log").read_text())

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(10)

    def request(self, method, path, body=b"", headers=()):
        connection = http.client.HTTPSConnection("localhost", self.port, timeout=15, context=self.trust)
        with contextlib.closing(connection):
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.request(method, path, body, dict(headers))
            answer = connection.getresponse()
            answer.read()
            return answer.status

    def open(self):
        return self.trust.wrap_socket(
            socket.create_connection(("127.0.0.1", self.port), 15), server_hostname="localhost"
        )


def _user() -> str:
    import pwd

    return pwd.getpwuid(os.getuid()).pw_name


@needs("nginx")
@needs("openssl")
def test_nginx__in_front_of_the_loader__passes_webhooks_on_and_nothing_else(environ, settings, tmp_path):
    settings.warehouse_dir.mkdir(parents=True)
    sent = [*bodies()[:20], '{"identity": "Zoë"}'.encode(), b"x" * 9_000_000]
    with Server(environ) as server, Nginx(tmp_path, server.port) as nginx:
        for number, body in enumerate(sent):
            path = "/webhooks/production" + "/" * (number % 2)
            assert nginx.request("POST", path, body, sign(body)) == 204
        assert nginx.request("POST", "/webhooks/production", b"{}", sign(b"{} ")) == 401
        assert nginx.request("POST", "/webhooks/production", b"x" * 10_500_000, sign(b"")) == 413
        assert nginx.request("GET", "/webhooks/production") == 403
        assert nginx.request("GET", "/metrics") == 404
        assert nginx.request("POST", "/") == 404
        (found,) = doctor.reach(f"https://localhost:{nginx.port}/webhooks/production")
        assert found.verdict == "fail" and "certificate" in found.text.lower()
        slow = [nginx.open() for _ in range(200)]
        for each in slow:
            each.sendall(b"POST /webhooks/production HTTP/1.1\r\nHost: localhost\r\nContent-Le")
        started = time.monotonic()
        assert nginx.request("POST", "/webhooks/production", b"{}", sign(b"{}")) == 204
        assert time.monotonic() - started < 3
        assert slow[0].recv(1) == b"" and time.monotonic() - started < 8
        for each in slow:
            each.close()
        server.stop()
        started = time.monotonic()
        assert nginx.request("POST", "/webhooks/production", b"{}", sign(b"{}")) == 502
        assert time.monotonic() - started < 3
    command(environ, "land")
    assert sorted(body.encode() for _, body in landed(environ)) == sorted([*sent, b"{}"])


def test_nginx__the_example__has_time_outs_below_ten_seconds_and_no_redirect():
    site = (DEPLOY / "nginx.conf").read_text()
    server = site[site.index("server {") :]  # idle connections to the loader are another matter
    seconds = [int(number) for number in re.findall(r"_timeout (\d+)s;", server)]
    assert len(seconds) == 7 and max(seconds) < 10
    lines = [line.split("#")[0] for line in site.splitlines()]
    assert not any(re.search(r"return 30|rewrite|error_page", line) for line in lines)
    assert json.dumps(lines).count("listen") == 1
