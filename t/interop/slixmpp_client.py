#!/usr/bin/python3
#
# A chat client on slixmpp, driven by lines (see Interop.pm for the lines).
#
# The certificate is checked against the given authority and against the
# domain of the JID, by slixmpp's own default context with its system
# authorities taken away.
#
# Environment: XMPP_HOST XMPP_PORT XMPP_JID XMPP_PASSWORD XMPP_CA
#              XMPP_TLS (starttls|direct) XMPP_TLS_MAX (1.2)
#              XMPP_REGISTER (1: makes the account first)
#              XMPP_RESUME (1: with stream management, and comes back)

import asyncio
import os
import ssl
import sys

import slixmpp

from slixmpp.plugins.xep_0198.stanza import Resume


def say(line):
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


class Client(slixmpp.ClientXMPP):

    def __init__(self):
        super().__init__(os.environ["XMPP_JID"], os.environ["XMPP_PASSWORD"])

        self.status = 1
        self.ready = False
        self.quitting = False
        self.done = self.loop.create_future()

        self.ssl_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.ssl_context.load_verify_locations(cafile=os.environ["XMPP_CA"])
        self.ca_certs = os.environ["XMPP_CA"]

        if os.environ.get("XMPP_TLS_MAX") == "1.2":
            self.ssl_context.maximum_version = ssl.TLSVersion.TLSv1_2

        self.register_plugin("xep_0012")
        self.register_plugin("xep_0030")
        self.register_plugin("xep_0048")
        self.register_plugin("xep_0049")
        self.register_plugin("xep_0050")
        self.register_plugin("xep_0054")
        self.register_plugin("xep_0077")
        self.register_plugin("xep_0092")
        self.register_plugin("xep_0133")
        self.register_plugin("xep_0191")
        self.register_plugin("xep_0199")
        self.register_plugin("xep_0202")
        self.register_plugin("xep_0280")

        self.resuming = bool(os.environ.get("XMPP_RESUME"))

        if self.resuming:
            self.manage_stream()

        # subscriptions are approved when the test says so
        self.roster.auto_authorize = None

        for name in ("session_start", "presence", "message", "disconnected",
                     "presence_subscribe", "roster_update", "carbon_sent",
                     "carbon_received", "blocked", "unblocked"):
            self.add_event_handler(name, getattr(self, "on_" + name))

        if os.environ.get("XMPP_REGISTER"):
            self.add_event_handler("register", self.on_register)
            # 1.8 keeps every iq until there is a session
            self._always_send_everything = True

        # not failed_auth: another mechanism may do

        for name in ("failed_all_auth", "connection_failed",
                     "ssl_invalid_chain", "stream_error"):
            self.add_event_handler(name, self.failure(name))

    def manage_stream(self):
        self.register_plugin("xep_0198")
        self.register_plugin("xep_0352")
        self.add_event_handler("session_resumed", lambda _:
                               say("RESUMED"))
        self.add_event_handler("sm_failed", lambda failed:
                               say("NOTRESUMED %s" % failed.xml.get("h")))

        # 1.8 forgets what is not acknowledged when it sends <resume/>, before
        # it could send it again

        sm = self["xep_0198"]

        def keeping(stanza):
            if isinstance(stanza, Resume):
                sm.enabled_out = True
                return stanza
            return sm._handle_outgoing(stanza)

        self.del_filter("out_sync", sm._handle_outgoing)
        self.add_filter("out_sync", keeping)

    def connect_to(self, host, port, direct):
        if hasattr(self, "enable_direct_tls"):
            # slixmpp 1.9 and later; TLS is required unless told otherwise
            self.enable_direct_tls = direct
            self.enable_starttls = not direct
            self.connect(host, port)
        else:
            self.connect((host, port), use_ssl=direct,
                         force_starttls=not direct, disable_starttls=direct)

    def failure(self, name):
        def on_failure(what):
            self.finish(1, "FAIL %s %s" % (name, str(what).replace("\n", " ")))
        return on_failure

    def finish(self, status, line):
        if not self.done.done():
            self.status = status
            say(line)
            self.done.set_result(None)

    def on_session_start(self, event):
        cipher = self.transport.get_extra_info("cipher")
        if cipher is None:
            self.finish(1, "FAIL no TLS")
            return
        self.tls = cipher[1]
        self.ready = False
        self.send_presence()

    async def on_register(self, form):
        say("FIELDS %s" % " ".join(sorted(form["register"]["fields"])))

        iq = self.Iq()
        iq["type"] = "set"
        iq["register"]["username"] = self.boundjid.user
        iq["register"]["password"] = os.environ["XMPP_PASSWORD"]

        try:
            await iq.send(timeout=10)
            say("REGISTERED")
        except (slixmpp.exceptions.IqError,
                slixmpp.exceptions.IqTimeout) as error:
            say("REFUSED %s" % error.condition)

    # The server has taken our presence when it comes back (RFC 6121, 4.2.2).
    # Before, a message to the bare JID may rightly miss us.

    def on_presence(self, presence):
        if presence["from"] == self.boundjid and not self.ready:
            self.ready = True
            say("READY %s %s" % (self.boundjid.full, self.tls))
        elif presence["type"] not in ("subscribe", "subscribed", "unsubscribe",
                                      "unsubscribed", "error", "probe"):
            # its type is the show, when there is one
            say("PRESENCE %s %s" % (presence["from"].full,
                                    presence["type"].replace("available",
                                                             "here")
                                    .replace("unhere", "unavailable")))

    def on_presence_subscribe(self, presence):
        say("ASKED %s" % presence["from"].bare)

    def on_roster_update(self, iq):
        if iq["type"] == "set":
            for jid, item in iq["roster"]["items"].items():
                say("PUSH %s %s" % (jid, item["subscription"]))

    def on_carbon_sent(self, msg):
        self.carbon("sent", msg["carbon_sent"])

    def on_carbon_received(self, msg):
        self.carbon("received", msg["carbon_received"])

    def carbon(self, kind, msg):
        say("CARBON %s %s %s %s" % (kind, msg["from"].full, msg["to"].full,
                                    msg["body"]))

    def on_blocked(self, iq):
        for jid in iq["block"]["items"]:
            say("PUSHED block %s" % jid)

    def on_unblocked(self, iq):
        for jid in iq["unblock"]["items"]:
            say("PUSHED unblock %s" % jid)

    def on_message(self, msg):
        if msg["type"] == "headline" and msg["body"]:
            say("HEADLINE %s %s" % (msg["from"].full, msg["body"]))
        if msg["type"] in ("chat", "normal") and msg["body"]:
            say("MESSAGE %s %s" % (msg["from"].full, msg["body"]))

    def on_disconnected(self, reason):
        if self.quitting:
            self.finish(0, "BYE")
        elif self.resuming and self.ready:
            say("GONE %s" % (reason,))
            connect(self)
        else:
            self.finish(1, "FAIL disconnected %s" % (reason,))

    async def ping(self, jid):
        try:
            await self["xep_0199"].send_ping(slixmpp.JID(jid), timeout=10)
            say("PONG %s" % jid)
        except (slixmpp.exceptions.IqError, slixmpp.exceptions.IqTimeout):
            say("NOPONG %s" % jid)

    async def disco(self, jid):
        info = await self["xep_0030"].get_info(slixmpp.JID(jid), timeout=10)
        say("FEATURES %s" % " ".join(sorted(info["disco_info"]["features"])))

    async def list_commands(self):
        answer = await self["xep_0133"].get_commands()
        say("COMMANDS %s" % " ".join(sorted(
            item[1].partition("#")[2]
            for item in answer["disco_items"]["items"])))

    # a command of XEP-0133 from its form to its end

    def execute(self, name, values):

        def failed(iq, session):
            say("EXECUTE %s failed: %s" % (name, iq["error"]["condition"]))

        def ended(iq, session):
            told = iq["command"]["form"].get_values()
            told.pop("FORM_TYPE", None)
            say("EXECUTE %s %s %s" % (name, iq["command"]["status"], " ".join(
                "%s=%s" % (var, ",".join(sorted(value))
                           if isinstance(value, list) else value)
                for var, value in sorted(told.items()))))

        def begun(iq, session):
            if iq["command"]["status"] != "executing":
                ended(iq, session)
                return
            form = iq["command"]["form"]
            for var, value in values.items():
                many = form.get_fields()[var]["type"].endswith("-multi")
                form.get_fields()[var]["value"] = (value.split(",") if many
                                                   else value)
            form["type"] = "submit"
            session["next"] = ended
            session["payload"] = [form]
            self["xep_0050"].complete_command(session)

        getattr(self["xep_0133"], name.replace("-", "_"))(
            session={"next": begun, "error": failed})

    async def ask(self, word, jid, more):
        name, _, group = more.partition(" ")

        try:
            if word == "ROSTER":
                # the answer has no items for who has this version already
                await self.get_roster()
                items = {jid: self.client_roster[jid]
                         for jid in self.client_roster
                         if jid != self.boundjid.bare}
                say("ROSTER " + " ".join(sorted(
                    "%s:%s:%s:%s" % (jid, item["subscription"], item["name"],
                                     ",".join(sorted(item["groups"])))
                    for jid, item in items.items())))
                return
            if word == "BLOCKED":
                iq = await self["xep_0191"].get_blocked()
                say("BLOCKED " + " ".join(sorted(
                    map(str, iq["blocklist"]["items"]))))
                return
            if word == "VCARD":
                iq = await self["xep_0054"].get_vcard(slixmpp.JID(jid))
                say("VCARD %s" % iq["vcard_temp"]["FN"])
                return
            if word == "LAST":
                iq = await self["xep_0012"].get_last_activity(slixmpp.JID(jid))
                say("LAST %s" % iq["last_activity"]["seconds"])
                return
            if word == "BOOKMARKS":
                iq = await self["xep_0048"].get_bookmarks()
                say("BOOKMARKS " + " ".join(sorted(
                    "%s:%s" % (room["jid"], room["name"]) for room in
                    iq["private"]["bookmarks"]["conferences"])))
                return
            if word == "CANCEL":
                await self["xep_0077"].cancel_registration(timeout=10)
            elif word == "PASSWORD":
                await self["xep_0077"].change_password(jid, timeout=10)
            elif word == "ADD":
                await self.update_roster(jid, name=name, groups=[group])
            elif word == "REMOVE":
                await self.del_roster_item(jid)
            elif word == "BLOCK":
                await self["xep_0191"].block(jid)
            elif word == "UNBLOCK":
                await self["xep_0191"].unblock(jid)
            elif word == "SETVCARD":
                vcard = self["xep_0054"].make_vcard()
                vcard["FN"] = jid
                await self["xep_0054"].publish_vcard(vcard)
            elif word == "BOOKMARK":
                bookmarks = self["xep_0048"].stanza.Bookmarks()
                bookmarks.add_conference(jid, "bob", name=name)
                await self["xep_0048"].set_bookmarks(bookmarks)
            elif word == "CARBONS":
                iq = await self["xep_0280"].enable()
                say("CARBONS %s" % iq["type"])
                return
            say("%s done" % word)
        except (slixmpp.exceptions.IqError,
                slixmpp.exceptions.IqTimeout) as error:
            say("%s failed: %s" % (word, error))

    async def commands(self):
        reader = asyncio.StreamReader()
        await self.loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)

        while True:
            line = (await reader.readline()).decode()
            if line == "":
                break
            word, _, rest = line.rstrip("\n").partition(" ")
            if word == "SEND":
                to, _, body = rest.partition(" ")
                self.send_message(mto=to, mbody=body, mtype="chat")
            elif word == "PING":
                asyncio.ensure_future(self.ping(rest))
            elif word == "COMMANDS":
                asyncio.ensure_future(self.list_commands())
            elif word == "EXECUTE":
                name, *values = rest.split(" ")
                self.execute(name, dict(v.split("=", 1) for v in values))
            elif word == "DISCO":
                asyncio.ensure_future(self.disco(rest))
            elif word == "SUBSCRIBE":
                self.send_presence_subscription(pto=rest)
            elif word == "APPROVE":
                self.send_presence(pto=rest, ptype="subscribed")
            elif word == "SHOW":
                self.send_presence(pshow=rest)
            elif word == "IDLE":
                self["xep_0352"].send_inactive()
            elif word == "QUIT":
                break
            else:
                jid, _, more = rest.partition(" ")
                asyncio.ensure_future(self.ask(word, jid, more))

        self.quitting = True
        self.disconnect()


def connect(client):
    client.connect_to(os.environ["XMPP_HOST"], int(os.environ["XMPP_PORT"]),
                      os.environ.get("XMPP_TLS", "starttls") == "direct")


def main():
    client = Client()
    connect(client)

    task = client.loop.create_task(client.commands())
    client.loop.run_until_complete(client.done)
    task.cancel()
    sys.exit(client.status)


main()
