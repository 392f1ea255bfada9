"""A mail server (aiosmtpd) for the tests: takes mails, and writes what a mail client reads in each as a line of JSON.

usage: server.py PORT OUT        a mail to busy@… is put off with 451 twice, one to nobody@… is refused with 550
"""

import email
import email.policy
import json
import signal
import sys

from aiosmtpd.controller import Controller


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
        }
        with open(self.out, "a") as out:
            out.write(json.dumps(kept) + "\n")
        return "250 OK: kept"


controller = Controller(Keeps(sys.argv[2]), hostname="127.0.0.1", port=int(sys.argv[1]))
controller.start()
print("ready", flush=True)
signal.sigwait({signal.SIGTERM, signal.SIGINT})
