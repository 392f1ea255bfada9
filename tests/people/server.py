"""A mail server (aiosmtpd) for the tests: takes mails, and writes what a mail client reads in each as a line of JSON.

usage: server.py PORT OUT [HOST [plain|starttls|wrapped CERT KEY]]
    a mail to busy@… is put off with 451 twice, one to nobody@… is refused with 550
    with a HOST it wants a login, quell's password is hunter2; what is tried in vain is written as {"refused": LOGIN}
"""

import email
import email.policy
import json
import signal
import socket
import ssl
import sys

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult


class Keeps:
    def __init__(self, out):
        self.out = out
        self.put_off = {}

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("nobody@"):
            return "550 5.1.1 there is no such user"
        if address.startswith("busy@") and self.put_off.get(address, 0) < 2:
            self.put_off[address] = self.put_off.get(address, 0) + 1
            return "451 4.3.0 come back later"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        part = lambda kind: mail.get_body((kind,)).get_content()
        kept = {
            "to": envelope.rcpt_tos,
            "headers": sorted(mail.keys()),
            "from": mail["From"],
            "subject": mail["Subject"],
            "id": mail["Message-ID"],
            "references": mail["References"],
            "text": part("plain"),
            "html": part("html"),
            "login": session.auth_data,
            "starttls": session.ssl is not None,
        }
        self.write(kept)
        return "250 OK: kept"

    def write(self, kept):
        with open(self.out, "a") as out:
            out.write(json.dumps(kept) + "\n")

    def authenticate(self, server, session, envelope, mechanism, given):
        login = given.login.decode()
        if (login, given.password) == ("quell", b"hunter2"):
            return AuthResult(success=True, auth_data=login)
        self.write({"to": [], "refused": login})
        return AuthResult(success=False, handled=False)


class Server(Controller):
    """As a mail server serves: aiosmtpd's own first look at itself speaks no TLS."""

    def _trigger_server(self):
        socket.create_connection((self.hostname, self.port), 5).close()


keeps = Keeps(sys.argv[2])
host, how = (sys.argv[3:] + ["127.0.0.1", "plain"][len(sys.argv[3:]) :])[:2]
options = {}
if len(sys.argv) > 3:
    options = {"authenticator": keeps.authenticate, "auth_required": True, "auth_require_tls": how == "starttls"}
if how != "plain":
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*sys.argv[5:7])
    options |= {"ssl_context": context} if how == "wrapped" else {"tls_context": context, "require_starttls": True}
controller = Server(keeps, hostname=host, port=int(sys.argv[1]), **options)
controller.start()
print("ready", flush=True)
signal.sigwait({signal.SIGTERM, signal.SIGINT})
