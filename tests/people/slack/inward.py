"""What Slack sends to an app: envelopes of Socket Mode, and the places where it takes what is said later to a click or a command.

Socket Mode is as https://docs.slack.dev/apis/events-api/using-socket-mode has it. A test asks by /test/… for what Slack would do
by itself.
"""

import asyncio
import itertools
import json

from aiohttp import WSMsgType, web


class SocketMode:
    """`apps.connections.open`, the links that it opens, and their envelopes. Stands before the other methods, since its token is another."""

    TOKEN = "xapp-1-A0QUELL01-test"
    WITHOUT_SCOPE = "xapp-1-A0QUELL01-other"

    def __init__(self, workspace):
        self.workspace = workspace
        self.ids, self.tickets = itertools.count(1), set()
        self.links, self.opened, self.refused = {}, 0, 0
        self.acks, self.strange = [], []

    def routes(self):
        return [
            web.post("/api/apps.connections.open", self.open),
            web.get("/link/", self.link),
            web.get("/test/socket", self.state),
            web.post("/test/socket/send", self.send),
            web.post("/test/socket/leave", self.leave),
        ]

    async def open(self, request):
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        error = {
            "": "not_authed",
            self.workspace.TOKEN: "not_allowed_token_type",
            self.WITHOUT_SCOPE: "missing_scope",
            self.TOKEN: None,
        }.get(given, "invalid_auth")
        if error:
            self.refused += 1
            return web.json_response({"ok": False, "error": error})
        ticket = f"t{next(self.ids)}"
        self.tickets.add(ticket)
        return web.json_response({"ok": True, "url": f"ws://{request.host}/link/?ticket={ticket}&app_id=A0QUELL01"})

    async def link(self, request):
        ticket = request.query.get("ticket")
        if ticket not in self.tickets:
            return web.Response(status=403)
        # It works once.
        self.tickets.discard(ticket)
        socket = web.WebSocketResponse(heartbeat=10)
        await socket.prepare(request)
        number = self.opened = self.opened + 1
        self.links[number] = (socket, request.transport)
        hello = {"type": "hello", "num_connections": len(self.links), "connection_info": {"app_id": "A0QUELL01"}}
        hello["debug_info"] = {"host": "applink-1", "build_number": 10, "approximate_connection_time": 18060}
        await socket.send_json(hello)
        async for message in socket:
            said = None
            if message.type == WSMsgType.TEXT:
                try:
                    said = json.loads(message.data)
                except ValueError:
                    pass
            if isinstance(said, dict) and isinstance(said.get("envelope_id"), str):
                self.acks.append({"link": number, "envelope_id": said["envelope_id"]})
            else:
                self.strange.append(str(message.data))
        self.links.pop(number, None)
        return socket

    async def state(self, request):
        open = sorted(self.links)
        return web.json_response(
            {"opened": self.opened, "open": open, "refused": self.refused, "acks": self.acks, "strange": self.strange}
        )

    async def send(self, request):
        """An envelope by the newest link, under its own id or, once more, under that of another."""
        given = await request.json()
        id = given.get("envelope_id") or f"e{next(self.ids)}-0000-0000"
        kind = given["type"]
        if kind == "slash_commands" and "commands" not in self.workspace.scopes:
            return web.json_response({"error": "an app without the scope `commands` has none"}, status=403)
        number = max(self.links)
        envelope = {"envelope_id": id, "type": kind, "payload": given["payload"], "accepts_response_payload": kind != "events_api"}
        await self.links[number][0].send_json(envelope)
        return web.json_response({"envelope_id": id, "link": number})

    async def leave(self, request):
        """Slack wants its oldest link to go (`reason`: it says so), or it is cut (`cut`)."""
        given = await request.json()
        number = min(self.links)
        socket, transport = self.links[number]
        if given.get("cut"):
            transport.abort()
        elif given.get("close"):
            await socket.close()
        else:
            said = {"type": "disconnect", "reason": given["reason"], "debug_info": {"host": "applink-1"}}
            await socket.send_json(said)
        return web.json_response({"link": number})


class Hooks:
    """Where what is told later is taken (https://docs.slack.dev/interactivity/handling-user-interaction), each by its own name."""

    def __init__(self):
        self.told = []

    def routes(self):
        return [web.post("/hooks/{name}", self.take), web.get("/test/hooks", self.state)]

    async def take(self, request):
        name = request.match_info["name"]
        if name == "hangs":
            await asyncio.Event().wait()
        if name == "gone":
            return web.json_response({"ok": False, "error": "used_url"}, status=404)
        try:
            said = await request.json()
        except ValueError:
            return web.Response(status=400, text="invalid_payload")
        if request.content_type != "application/json" or not isinstance(said.get("text"), str) or len(said["text"]) > 40_000:
            return web.Response(status=400, text="invalid_payload")
        self.told.append({"name": name, **said})
        return web.Response(text="ok")

    async def state(self, request):
        return web.json_response(self.told)
