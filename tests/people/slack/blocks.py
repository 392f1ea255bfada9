"""Block Kit's bounds, as its reference has them (https://docs.slack.dev/reference/block-kit): what Slack refuses is refused.

The bound of a whole message is not in the reference; Slack has been seen to refuse from some 13,200 characters on
(slackapi/bolt-js, issue 2509).
"""

import json

from workspace import Refused

MOST_BLOCKS = 50
MOST_OF_ALL = 13_200


def check(blocks):
    """Refuses blocks that Slack would; gives them as they are kept."""
    if isinstance(blocks, str):
        try:
            blocks = json.loads(blocks)
        except ValueError:
            raise Refused("invalid_blocks_format") from None
    if not isinstance(blocks, list) or not all(isinstance(block, dict) for block in blocks):
        raise Refused("invalid_blocks_format")
    wrong = Wrong()
    wrong.bound("", len(blocks), MOST_BLOCKS, "items")
    ids = [block["block_id"] for block in blocks if "block_id" in block]
    wrong.unless(len(ids) == len(set(ids)), "", "a `block_id` stands twice")
    for at, block in enumerate(blocks):
        Block(wrong, f"/blocks/{at}").check(block)
    if wrong.all:
        raise Refused("invalid_blocks", errors=wrong.all, response_metadata={"messages": [f"[ERROR] {one}" for one in wrong.all]})
    if len(json.dumps(blocks, ensure_ascii=False)) > MOST_OF_ALL:
        raise Refused("msg_blocks_too_long")
    return blocks


class Wrong:
    """What is wrong, each with its place as a JSON pointer."""

    def __init__(self):
        self.all = []

    def unless(self, holds, place, why):
        if not holds:
            self.all.append(f"{why} [json-pointer:{place}]")
        return holds

    def bound(self, place, length, most, of="characters"):
        self.unless(length <= most, place, f"must be no more than {most} {of}")


class Block:
    """One block, at its place."""

    # Texts that may be styled, or plain alone.
    STYLED, PLAIN = ("plain_text", "mrkdwn"), ("plain_text",)

    def __init__(self, wrong, place):
        self.wrong, self.place = wrong, place

    def check(self, block):
        kinds = {
            "header": self.header,
            "section": self.section,
            "context": self.context,
            "actions": self.actions,
            "divider": lambda block: None,
            "rich_text": self.rich_text,
        }
        kind = kinds.get(block.get("type"))
        if self.wrong.unless(kind is not None, f"{self.place}/type", f"unsupported type: {block.get('type')}"):
            self.wrong.bound(f"{self.place}/block_id", len(block.get("block_id", "")), 255)
            kind(block)

    def text(self, at, text, most, kinds=STYLED):
        place = f"{self.place}{at}"
        if not self.wrong.unless(isinstance(text, dict) and text.get("type") in kinds, place, f"must be one of {kinds}"):
            return
        known = {"type", "text", "emoji"} if text["type"] == "plain_text" else {"type", "text", "verbatim"}
        self.wrong.unless(set(text) <= known, place, f"invalid additional property: {set(text) - known}")
        value = text.get("text")
        if self.wrong.unless(isinstance(value, str) and value, f"{place}/text", "must be at least 1 character"):
            self.wrong.bound(f"{place}/text", len(value.encode("utf-16-le")) // 2, most)

    def header(self, block):
        self.text("/text", block.get("text"), 150, self.PLAIN)

    def section(self, block):
        fields = block.get("fields", [])
        self.wrong.unless("text" in block or fields, self.place, "needs `text` or `fields`")
        if "text" in block:
            self.text("/text", block["text"], 3000)
        self.wrong.bound(f"{self.place}/fields", len(fields), 10, "items")
        for at, field in enumerate(fields):
            self.text(f"/fields/{at}", field, 2000)

    def context(self, block):
        elements = self.items(block, 10)
        for at, element in enumerate(elements):
            self.text(f"/elements/{at}", element, 3000)

    def actions(self, block):
        elements = self.items(block, 25)
        ids = [element.get("action_id") for element in elements]
        self.wrong.unless(len(ids) == len(set(ids)), f"{self.place}/elements", "an `action_id` stands twice")
        for at, element in enumerate(elements):
            self.button(f"/elements/{at}", element)

    def items(self, block, most):
        elements = block.get("elements")
        if not self.wrong.unless(isinstance(elements, list) and elements, f"{self.place}/elements", "must have items"):
            return []
        self.wrong.bound(f"{self.place}/elements", len(elements), most, "items")
        return elements

    def button(self, at, button):
        place = f"{self.place}{at}"
        if not self.wrong.unless(button.get("type") == "button", f"{place}/type", "only buttons are known here"):
            return
        self.text(f"{at}/text", button.get("text"), 75, self.PLAIN)
        self.wrong.bound(f"{place}/action_id", len(button.get("action_id", "")), 255)
        self.wrong.bound(f"{place}/value", len(button.get("value", "")), 2000)
        self.wrong.unless(button.get("style", "primary") in ("primary", "danger"), f"{place}/style", "no such style")
        if "confirm" in button:
            confirm = button["confirm"]
            self.text(f"{at}/confirm/title", confirm.get("title"), 100, self.PLAIN)
            self.text(f"{at}/confirm/text", confirm.get("text"), 300)
            self.text(f"{at}/confirm/confirm", confirm.get("confirm"), 30, self.PLAIN)
            self.text(f"{at}/confirm/deny", confirm.get("deny"), 30, self.PLAIN)

    def rich_text(self, block):
        for at, element in enumerate(self.items(block, MOST_OF_ALL)):
            kind = element.get("type")
            place = f"/elements/{at}"
            if kind == "rich_text_list":
                self.wrong.unless(element.get("style") in ("bullet", "ordered"), f"{self.place}{place}/style", "no such style")
                for row, section in enumerate(element.get("elements", [])):
                    self.inline(f"{place}/elements/{row}", section)
            elif self.wrong.unless(
                kind in ("rich_text_section", "rich_text_preformatted", "rich_text_quote"), f"{self.place}{place}/type", "no such type"
            ):
                self.inline(place, element)

    def inline(self, at, section):
        """What stands in a line: nothing in it is markup."""
        wants = {"text": ("text",), "user": ("user_id",), "date": ("timestamp", "format"), "link": ("url",)}
        for row, element in enumerate(section.get("elements", [])):
            place, kind = f"{self.place}{at}/elements/{row}", element.get("type")
            if not self.wrong.unless(kind in wants, f"{place}/type", f"no such type: {kind}"):
                continue
            for name in wants[kind]:
                self.wrong.unless(element.get(name), f"{place}/{name}", "must be at least 1 character")
