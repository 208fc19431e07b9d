// strophe.js over WebSocket, for Interop.pm

import { load, say, fail, listen, bye, url, XMPP_JID,
         XMPP_PASSWORD } from './lines.mjs';

const { Strophe, $msg, $pres } = await load(
    'strophe.js/dist/strophe.node.esm.js');

const connection = new Strophe.Connection(url);
let end;

connection.addHandler((stanza) => {
    const body = stanza.getElementsByTagName('body')[0];

    if (body) {
        say(`MESSAGE ${stanza.getAttribute('from')} ${body.textContent}`);
    }

    return true;
}, null, 'message');

connection.connect(XMPP_JID, XMPP_PASSWORD, (status, condition) => {
    const S = Strophe.Status;

    if (status === S.CONNECTED) {
        connection.send($pres());
        say(`READY ${connection.jid} WebSocket`);

    } else if (status === S.DISCONNECTED) {
        end ? end() : say('GONE');

    } else if ([S.CONNFAIL, S.AUTHFAIL].includes(status)) {
        fail(`${status} ${condition}`);
    }
});

listen({
    SEND: (to, ...words) => connection.send(
        $msg({ to, type: 'chat' }).c('body').t(words.join(' '))),
    QUIT: () => bye(() => new Promise((resolve) => {
        end = resolve;
        connection.disconnect('');
    })),
});
