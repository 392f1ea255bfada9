"""Slack's Web API over HTTP: tokens, bodies, methods, errors (https://docs.slack.dev/apis/web-api).

A method is an `async def` of `Methods`, by its name with `_` for `.`; another concern (Socket Mode) adds a class of its own beside it.
"""

import asyncio
import json
import time

import blocks
from aiohttp import web
from workspace import Refused, Workspace


class Methods:
    """What each method does. Gets the arguments, gives the answer without `ok`."""

    def __init__(self, workspace):
        self.workspace = workspace

    def content(self, args):
        """Text and blocks of a message."""
        text, kept = args.get("text") or "", args.get("blocks")
        content = {"text": text}
        if kept is not None:
            content["blocks"] = blocks.check(kept)
        if not text and not content.get("blocks"):
            raise Refused("no_text")
        if len(text) > 40_000:
            raise Refused("msg_too_long")
        return content

    async def auth_test(self, args):
        of = Workspace
        return {"url": "https://quell.slack.com/", "team": "Quell", "user": "quell", "team_id": of.TEAM, "user_id": of.BOT, "bot_id": of.BOT_ID}

    async def chat_postMessage(self, args):
        self.workspace.wants("chat:write")
        channel = self.workspace.to(args.get("channel"))
        broadcast = args.get("reply_broadcast") in (True, "true")
        message = self.workspace.post(channel, self.content(args), args.get("thread_ts"), broadcast)
        return {"channel": channel.id, "ts": message["ts"], "message": message}

    async def chat_update(self, args):
        self.workspace.wants("chat:write")
        if len(args.get("text") or "") > 4_000:
            raise Refused("msg_too_long")
        # Without `parse`, an update takes texts as a client's own: names become links.
        content = {"parse": args.get("parse", "client"), **self.content(args)}
        channel, message = self.workspace.update(args.get("channel"), args.get("ts"), content)
        return {"channel": channel.id, "ts": message["ts"], "text": message["text"], "message": message}

    async def chat_delete(self, args):
        self.workspace.wants("chat:write")
        self.workspace.delete(args.get("channel"), args.get("ts"))
        return {"channel": args["channel"], "ts": args["ts"]}

    async def chat_postEphemeral(self, args):
        self.workspace.wants("chat:write")
        return {"message_ts": self.workspace.whisper(args.get("channel"), args.get("user"), self.content(args))}

    async def conversations_open(self, args):
        self.workspace.wants("im:write")
        return {"channel": {"id": self.workspace.direct(args.get("users")).id}}

    async def conversations_replies(self, args):
        channel = self.workspace.channels.get(args.get("channel"))
        if channel is None:
            raise Refused("channel_not_found")
        self.workspace.wants("im:history" if channel.user else "channels:history")
        of = args.get("ts")
        if of not in channel.messages:
            raise Refused("thread_not_found")
        rows = [kept["now"] for kept in channel.messages.values()]
        return {"messages": [row for row in rows if of in (row["ts"], row.get("thread_ts"))], "has_more": False}


class WebApi:
    """The HTTP around them. What `failures` hold comes first: `fail` says what each may have."""

    def __init__(self, workspace):
        self.workspace = workspace
        self.methods = {}
        self.add(Methods(workspace))
        self.calls, self.failures = [], []
        self.held, self.free = [], asyncio.Event()

    def add(self, methods):
        """Takes up the methods of a class."""
        for name in dir(methods):
            if not name.startswith("_") and asyncio.iscoroutinefunction(getattr(methods, name)):
                self.methods[name.replace("_", ".")] = getattr(methods, name)

    def routes(self):
        return [web.post("/api/{method}", self.answer), web.get("/api/{method}", self.answer)]

    def fail(self, failure):
        """The next `times` calls of `method` (any, without) do not go well.

        `error`: Slack's word. `status`, `headers`: of HTTP. `after`: it is done all the same, and only then answered so.
        `lost`: the connection ends without an answer. `hang`: nothing is ever answered. `body`: what is answered, as it is.
        `hold`: it goes well, but not before `let_go`.
        """
        self.failures.append({"times": 1, **failure})

    async def hold(self, method):
        self.held.append(method)
        await self.free.wait()
        self.held.remove(method)

    def let_go(self):
        """What is held goes on, and nothing more is held."""
        self.failures = [failure for failure in self.failures if not failure.get("hold")]
        self.free.set()
        self.free = asyncio.Event()

    def failure(self, method):
        for failure in self.failures:
            if failure.get("method", method) == method and failure["times"] > 0:
                failure["times"] -= 1
                return failure
        return None

    async def arguments(self, request):
        kind = request.content_type
        if request.method == "GET":
            return dict(request.query)
        if kind == "application/json":
            try:
                args = await request.json()
            except ValueError:
                raise Refused("invalid_json") from None
            if not isinstance(args, dict):
                raise Refused("json_not_object")
            return args
        if kind in ("application/x-www-form-urlencoded", "multipart/form-data"):
            return dict(await request.post())
        if request.can_read_body:
            raise Refused("invalid_post_type")
        return {}

    async def answer(self, request):
        name = request.match_info["method"]
        failure = self.failure(name)
        # Of what did not come to an answer too.
        call = {"method": name, "at": time.time()}
        self.calls.append(call)
        if failure and failure.get("hold"):
            await self.hold(name)
            failure = None
        if failure and not failure.get("after"):
            return await self.failed(request, call, failure)
        try:
            args = await self.arguments(request)
            call["args"] = {key: value for key, value in args.items() if key != "token"}
            given = request.headers.get("Authorization", "").removeprefix("Bearer ")
            # A token in a body is taken of forms alone.
            self.workspace.token(given or (args.get("token") if request.content_type != "application/json" else None))
            method = self.methods.get(name)
            if method is None:
                raise Refused("unknown_method", req_method=name)
            said = {"ok": True, **(await method(args))}
        except Refused as refused:
            said = {"ok": False, "error": refused.error, **refused.more}
        if failure:
            return await self.failed(request, call, failure)
        call["said"] = said.get("error", "ok")
        return web.json_response(said)

    async def failed(self, request, call, failure):
        call["said"] = failure.get("error") or str(failure.get("status") or "nothing")
        if failure.get("lost") or failure.get("hang"):
            if failure.get("hang"):
                await asyncio.Event().wait()
            request.transport.close()
            return web.Response()
        headers, status = failure.get("headers", {}), failure.get("status", 200)
        if "body" in failure:
            return web.Response(status=status, headers=headers, text=failure["body"], content_type="text/html")
        said = {"ok": False, "error": failure.get("error", "ratelimited" if status == 429 else "internal_error")}
        said.update(failure.get("more", {}))
        return web.Response(status=status, headers=headers, text=json.dumps(said), content_type="application/json")
