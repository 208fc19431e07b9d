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

import asyncio
import os
import ssl
import sys

import slixmpp


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

        self.register_plugin("xep_0030")
        self.register_plugin("xep_0092")
        self.register_plugin("xep_0199")
        self.register_plugin("xep_0202")

        for name in ("session_start", "presence", "message", "disconnected"):
            self.add_event_handler(name, getattr(self, "on_" + name))

        # not failed_auth: another mechanism may do

        for name in ("failed_all_auth", "connection_failed",
                     "ssl_invalid_chain", "stream_error"):
            self.add_event_handler(name, self.failure(name))

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
        self.send_presence()

    # The server has taken our presence when it comes back (RFC 6121, 4.2.2).
    # Before, a message to the bare JID may rightly miss us.

    def on_presence(self, presence):
        if presence["from"] == self.boundjid and not self.ready:
            self.ready = True
            say("READY %s %s" % (self.boundjid.full, self.tls))

    def on_message(self, msg):
        if msg["type"] in ("chat", "normal") and msg["body"]:
            say("MESSAGE %s %s" % (msg["from"].full, msg["body"]))

    def on_disconnected(self, reason):
        if self.quitting:
            self.finish(0, "BYE")
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
            elif word == "DISCO":
                asyncio.ensure_future(self.disco(rest))
            elif word == "QUIT":
                break

        self.quitting = True
        self.disconnect()


def main():
    client = Client()
    direct = os.environ.get("XMPP_TLS", "starttls") == "direct"

    client.connect_to(os.environ["XMPP_HOST"], int(os.environ["XMPP_PORT"]),
                      direct)

    task = client.loop.create_task(client.commands())
    client.loop.run_until_complete(client.done)
    task.cancel()
    sys.exit(client.status)


main()
