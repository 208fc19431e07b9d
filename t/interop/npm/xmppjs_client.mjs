// @xmpp/client over WebSocket, for Interop.pm.  It resumes by itself.

import { load, say, fail, listen, bye, url, user, domain, resource,
         XMPP_PASSWORD } from './lines.mjs';

// node has it since version 22

globalThis.WebSocket ??= (await load('ws/wrapper.mjs')).default;

const { client, xml } = await load('@xmpp/client/index.js');

const xmpp = client({ service: url, domain, resource, username: user,
                      password: XMPP_PASSWORD });
let left = false;

xmpp.reconnect.delay = 100;

xmpp.on('error', (error) => {
    if (error.condition && !['system-shutdown'].includes(error.condition)) {
        fail(error.message);
    }
});

xmpp.on('disconnect', () => { if (!left) { say('GONE'); } });
xmpp.streamManagement?.on('resumed', () => say('RESUMED'));

xmpp.on('online', async (address) => {
    await xmpp.send(xml('presence'));
    say(`READY ${address} WebSocket`);
});

xmpp.on('stanza', (stanza) => {
    const body = stanza.getChildText('body');

    if (stanza.is('message') && body !== null) {
        say(`MESSAGE ${stanza.attrs.from} ${body}`);
    }
});

listen({
    SEND: (to, ...words) => xmpp.send(
        xml('message', { to, type: 'chat' },
            xml('body', {}, words.join(' ')))),
    QUIT: () => { left = true; return bye(() => xmpp.stop()); },
});

await xmpp.start().catch((error) => fail(error.message));
