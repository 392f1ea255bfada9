"""Slack's own client of Socket Mode, and its own check of signatures.

usage: socket_client.py link http://127.0.0.1:PORT     drives the stand-in as an app does; says `ok` when all of it holds
       socket_client.py signatures                     rows of JSON on stdin, a verdict a row on stdout
"""

import json
import sys
import threading
import time
import urllib.request

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError
from slack_sdk.signature import Clock, SignatureVerifier
from slack_sdk.socket_mode import SocketModeClient
from slack_sdk.socket_mode.response import SocketModeResponse

TOKEN = "xapp-1-A0QUELL01-test"


def ask(url, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.loads(answer.read())


def until(what, holds):
    last = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < last, f"not in time: {what}"
        time.sleep(0.02)


def link(url):
    web = WebClient(base_url=f"{url}/api/", timeout=10)
    for token, error in [
        ("xapp-of-nobody", "invalid_auth"),
        ("xoxb-0001-quell-test", "not_allowed_token_type"),
        ("xapp-1-A0QUELL01-other", "missing_scope"),
    ]:
        try:
            web.apps_connections_open(app_token=token)
        except SlackApiError as refusal:
            assert refusal.response["error"] == error, refusal.response.data
        else:
            raise AssertionError(f"taken, though it should have been `{error}`")

    client = SocketModeClient(app_token=TOKEN, web_client=web)
    got, lock = [], threading.Lock()

    def take(client, request):
        client.send_socket_mode_response(SocketModeResponse(envelope_id=request.envelope_id))
        with lock:
            got.append((request.type, request.envelope_id, request.payload))

    client.socket_mode_request_listeners.append(take)
    client.connect()
    state = lambda: ask(f"{url}/test/socket")
    acks = lambda: [ack["envelope_id"] for ack in state()["acks"]]
    until("it is connected", lambda: client.is_connected() and state()["open"])
    for kind in ("interactive", "slash_commands", "events_api"):
        sent = ask(f"{url}/test/socket/send", {"type": kind, "payload": {"type": kind, "text": "x"}})
        until(f"{kind} is acknowledged", lambda: sent["envelope_id"] in acks())
        until(f"{kind} is taken", lambda: got and got[-1][:2] == (kind, sent["envelope_id"]))
        assert got[-1][2]["text"] == "x"
    before = state()["opened"]
    ask(f"{url}/test/socket/leave", {"reason": "refresh_requested"})
    until("it has another link", lambda: state()["opened"] > before)
    until("it is connected again", client.is_connected)
    client.close()
    until("no link is left", lambda: not state()["open"])
    assert not state()["strange"], state()["strange"]


def signatures():
    class At(Clock):
        def __init__(self, now):
            self.at = now

        def now(self):
            return self.at

    for line in sys.stdin:
        row = json.loads(line)
        verifier = SignatureVerifier(row["secret"], At(row["now"]))
        try:
            holds = verifier.is_valid(body=row["body"], timestamp=row["timestamp"], signature=row["signature"])
        except (ValueError, TypeError):
            # What is no number, or no ASCII, is no request of Slack's.
            holds = False
        print("yes" if holds else "no")


if sys.argv[1] == "link":
    link(sys.argv[2])
    print("ok")
else:
    signatures()
