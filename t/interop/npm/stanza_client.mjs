// stanza over WebSocket, for Interop.pm

import { load, say, fail, listen, bye, url, XMPP_JID,
         XMPP_PASSWORD } from './lines.mjs';

const { default: XMPP } = await load('stanza/index.js');

const xmpp = XMPP.createClient({ jid: XMPP_JID, password: XMPP_PASSWORD,
                                 transports: { websocket: url, bosh: false },
                                 autoReconnect: false });
let end;

// it would take these without having a binding

xmpp.sasl.disable('SCRAM-SHA-256-PLUS');
xmpp.sasl.disable('SCRAM-SHA-1-PLUS');

xmpp.on('session:started', () => {
    xmpp.sendPresence();
    say(`READY ${xmpp.jid} WebSocket`);
});

xmpp.on('auth:failed', () => fail('authentication'));
xmpp.on('stream:error', (error) => say(`ERROR ${error.condition}`));
xmpp.on('disconnected', () => { end ? end() : say('GONE'); });

xmpp.on('message', (message) => {
    if (message.body) {
        say(`MESSAGE ${message.from} ${message.body}`);
    }
});

listen({
    SEND: (to, ...words) => xmpp.sendMessage({ to, type: 'chat',
                                               body: words.join(' ') }),
    QUIT: () => bye(() => new Promise((resolve) => {
        end = resolve;
        xmpp.disconnect();
    })),
});

xmpp.connect();
