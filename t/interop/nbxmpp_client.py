#!/usr/bin/python3
#
# A client on nbxmpp, Gajim's library, driven by lines (see Interop.pm).
#
# The library trusts the system's authorities; a certificate that they do not
# know is shown to the application, as here: it is accepted when it is for the
# domain of the JID and of the given authority.
#
# Environment: XMPP_HOST XMPP_PORT XMPP_JID XMPP_PASSWORD XMPP_CA
#              XMPP_TLS (starttls|direct)
#              XMPP_RESUME (1: comes back when the connection breaks)

import os
import sys

import gi

gi.require_version("Soup", "3.0")

from gi.repository import Gio
from gi.repository import GLib

from nbxmpp.client import Client as Stream
from nbxmpp.const import ConnectionProtocol
from nbxmpp.const import ConnectionType
from nbxmpp.const import StreamError
from nbxmpp.modules.vcard_temp import VCard
from nbxmpp.namespaces import Namespace
from nbxmpp.protocol import Iq
from nbxmpp.protocol import JID
from nbxmpp.protocol import Message
from nbxmpp.structs import BookmarkData
from nbxmpp.structs import StanzaHandler


def say(line):
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


class Client:

    def __init__(self):
        jid = JID.from_string(os.environ["XMPP_JID"])
        direct = os.environ.get("XMPP_TLS", "starttls") == "direct"
        kind = ConnectionType.DIRECT_TLS if direct else ConnectionType.START_TLS

        self.loop = GLib.MainLoop()
        self.status = 1
        self.ready = False
        self.quitting = False
        self.domain = jid.domain
        self.input = b""

        self.stream = Stream()
        self.stream.set_domain(jid.domain)
        self.stream.set_username(jid.localpart)
        self.stream.set_resource(jid.resource)
        self.stream.set_password(os.environ["XMPP_PASSWORD"])
        self.stream.set_connection_types([kind])
        self.stream.set_protocols([ConnectionProtocol.TCP])
        self.stream.set_custom_host("%s:%s" % (os.environ["XMPP_HOST"],
                                               os.environ["XMPP_PORT"]),
                                    ConnectionProtocol.TCP, kind)

        self.stream.subscribe("connected", self.on_connected)
        self.stream.subscribe("connection-failed", self.on_disconnected)
        self.stream.subscribe("disconnected", self.on_disconnected)
        self.stream.subscribe("resume-successful", lambda *_: say("RESUMED"))
        self.stream.subscribe("resume-failed", lambda *_: say("NOTRESUMED"))

        for name, handler, ns in (("presence", self.on_presence, ""),
                                  ("message", self.on_message, ""),
                                  ("iq", self.on_push, Namespace.ROSTER),
                                  ("iq", self.on_block, Namespace.BLOCKING)):
            self.stream.register_handler(
                StanzaHandler(name=name, callback=handler, ns=ns,
                              typ="set" if ns else "", priority=60))

        self.roster = self.stream.get_module("Roster")
        self.presence = self.stream.get_module("BasePresence")
        self.blocking = self.stream.get_module("Blocking")
        self.vcard = self.stream.get_module("VCardTemp")
        self.bookmarks = self.stream.get_module("PrivateBookmarks")
        self.last = self.stream.get_module("LastActivity")

        GLib.io_add_watch(0, GLib.IO_IN | GLib.IO_HUP, self.on_input)

    def finish(self, status, line):
        if self.loop.is_running():
            self.status = status
            say(line)
            self.loop.quit()

    def on_connected(self, stream, signal):
        version = self.stream.tls_version

        if version is None:
            self.finish(1, "FAIL no TLS")
            return

        self.tls = version.value_nick.replace("tls-", "TLSv")
        self.ready = False
        self.presence.send()

    # Nobody but us decides about a certificate of an unknown authority

    def trusted(self):
        certificate, errors = self.stream.peer_certificate
        authority = Gio.TlsCertificate.new_from_file(os.environ["XMPP_CA"])
        name = Gio.NetworkAddress.new(self.domain, 0)

        return (Gio.TlsCertificateFlags.UNKNOWN_CA in errors
                and certificate.verify(name, authority) == 0)

    def on_disconnected(self, stream, signal):
        error = self.stream.get_error()

        if self.quitting:
            self.finish(0, "BYE")
        elif error[0] == StreamError.BAD_CERTIFICATE and self.trusted():
            self.stream.accept_certificate()
        elif os.environ.get("XMPP_RESUME") and self.ready:
            say("GONE %s" % (error,))
            GLib.idle_add(self.stream.connect)
        else:
            self.finish(1, "FAIL %s %s" % (signal, error))

    def on_presence(self, stream, stanza, properties):
        kind = stanza.getType()
        jid = str(stanza.getFrom())

        if jid == str(self.stream.get_bound_jid()) and not self.ready:
            self.ready = True
            say("READY %s %s" % (jid, self.tls))
        elif kind == "subscribe":
            say("ASKED %s" % jid)
        elif kind in (None, "unavailable"):
            say("PRESENCE %s %s" % (jid, kind or stanza.getShow() or "here"))

    def on_message(self, stream, stanza, properties):
        if properties.body and properties.is_carbon_message:
            say("CARBON %s %s %s %s" % (properties.carbon.type,
                                        properties.from_, properties.to,
                                        properties.body))
        elif properties.body and properties.type.value in ("chat", "normal"):
            say("MESSAGE %s %s" % (properties.from_, properties.body))

    def on_push(self, stream, stanza, properties):
        item = properties.roster.item
        say("PUSH %s %s" % (item.jid, item.subscription))

    def on_block(self, stream, stanza, properties):
        push = properties.blocking

        for jid in push.block:
            say("PUSHED block %s" % jid)
        for jid in push.unblock:
            say("PUSHED unblock %s" % jid)

    # the answer to a request of the library's modules

    def answer(self, task):
        try:
            result = task.finish()
        except Exception as error:
            say("%s failed: %s" % (task.get_user_data(), error))
            return

        if task.get_user_data() == "ROSTER":
            say("ROSTER " + " ".join(sorted(
                "%s:%s:%s:%s" % (item.jid, item.subscription, item.name,
                                 ",".join(sorted(item.groups)))
                for item in result.items)))
        elif task.get_user_data() == "BLOCKED":
            say("BLOCKED " + " ".join(sorted(map(str, result))))
        elif task.get_user_data() == "BOOKMARKS":
            say("BOOKMARKS " + " ".join(sorted(
                "%s:%s" % (room.jid, room.name) for room in result)))
        elif task.get_user_data() == "VCARD":
            say("VCARD %s" % result.data.get("FN"))
        elif task.get_user_data() == "LAST":
            say("LAST %s" % result.seconds)
        else:
            say("%s done" % task.get_user_data())

    def enabled(self, stream, stanza):
        say("CARBONS %s" % stanza.getType())

    def obey(self, line):
        word, _, rest = line.partition(" ")
        jid, _, more = rest.partition(" ")
        options = {"callback": self.answer, "user_data": word}

        if word == "SEND":
            self.stream.send_stanza(Message(to=jid, body=more, typ="chat"))
        elif word == "ROSTER":
            self.roster.request_roster(**options)
        elif word == "ADD":
            name, _, group = more.partition(" ")
            self.roster.set_item(jid, name, [group], **options)
        elif word == "REMOVE":
            self.roster.delete_item(jid, **options)
        elif word == "SUBSCRIBE":
            self.presence.subscribe(JID.from_string(jid))
        elif word == "APPROVE":
            self.presence.subscribed(JID.from_string(jid))
        elif word == "SHOW":
            self.presence.send(show=jid)
        elif word == "CARBONS":
            # Gajim's own lines, the library has none
            iq = Iq("set")
            iq.addChild("enable", namespace=Namespace.CARBONS)
            self.stream.send_stanza(iq, callback=self.enabled)
        elif word == "BLOCK":
            self.blocking.block([JID.from_string(jid)], **options)
        elif word == "UNBLOCK":
            self.blocking.unblock([JID.from_string(jid)], **options)
        elif word == "BLOCKED":
            self.blocking.request_blocking_list(**options)
        elif word == "VCARD":
            self.vcard.request_vcard(JID.from_string(jid), **options)
        elif word == "SETVCARD":
            self.vcard.set_vcard(VCard({"FN": jid}), **options)
        elif word == "LAST":
            self.last.request_last_activity(JID.from_string(jid), **options)
        elif word == "BOOKMARKS":
            self.bookmarks.request_bookmarks(**options)
        elif word == "BOOKMARK":
            room = BookmarkData(JID.from_string(jid), more, "bob")
            self.bookmarks.store_bookmarks([room], **options)
        elif word == "QUIT":
            self.quit()

    def quit(self):
        if not self.quitting:
            self.quitting = True
            self.stream.disconnect()

    def on_input(self, fd, condition):
        data = os.read(0, 65536)

        if not data:
            self.quit()
            return False

        *lines, self.input = (self.input + data).split(b"\n")

        for line in lines:
            self.obey(line.decode())

        return True

    def run(self):
        self.stream.connect()
        self.loop.run()
        sys.exit(self.status)


Client().run()
