"""A receiver of webhooks for the tests: answers as ntfy, PagerDuty and others do, and writes what comes as a line of JSON each.

usage: receiver.py OUT SECRET [CERT KEY]        at a port of its own: says `ready PORT`

POST /v2/enqueue   as PagerDuty's Events v2          POST /   as ntfy's server (JSON with a topic)          else 204
POST /tickets      201, and by whom it was asked      /moved   302 to /elsewhere
`signed` of a line: whether X-Quell-Signature is the HMAC of the moment and the body, by Python's own hmac.
While there is a file OUT.refuses, everything is answered with 500 and the path that was asked.
"""

import hashlib
import hmac
import json
import os
import ssl
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

OUT, SECRET = sys.argv[1:3]


def signed(moment, body, given):
    scheme, _, sum_given = (given or "").partition("=")
    wanted = hmac.new(SECRET.encode(), (moment or "").encode() + b"." + body, hashlib.sha256).hexdigest()
    return scheme == "v1" and hmac.compare_digest(wanted, sum_given)


class Receives(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def take(self):
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        line = {
            "method": self.command,
            "path": self.path,
            "headers": {name.lower(): value for name, value in self.headers.items()},
            "body": json.loads(body) if body else None,
            "signed": signed(self.headers.get("x-quell-timestamp"), body, self.headers.get("x-quell-signature")),
        }
        with open(OUT, "a") as out:
            out.write(json.dumps(line) + "\n")
        if os.path.exists(OUT + ".refuses"):
            return self.say(500, {"error": "not now: " + self.path})
        if self.path == "/v2/enqueue":
            key = line["body"].get("dedup_key", "made-here")
            return self.say(202, {"status": "success", "message": "Event processed", "dedup_key": key})
        if self.path == "/tickets":
            return self.say(201, {"id": 7, "by": self.headers.get("authorization")})
        if self.path == "/moved":
            return self.say(302, None, {"location": "/elsewhere"})
        if self.path == "/":
            return self.say(200, {"id": "xE73Iyuabi", "event": "message", "topic": line["body"]["topic"]})
        return self.say(204, None)

    def say(self, status, answer, headers={}):
        text = json.dumps(answer).encode() if answer is not None else b""
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = take


server = ThreadingHTTPServer(("127.0.0.1", 0), Receives)
if len(sys.argv) > 3:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*sys.argv[3:5])
    server.socket = context.wrap_socket(server.socket, server_side=True)
print("ready", server.server_port, flush=True)
server.serve_forever()
