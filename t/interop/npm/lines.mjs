// What the clients of this folder have in common: the lines of Interop.pm, and
// where npm has put the packages.

import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

export const { XMPP_HOST, XMPP_PORT, XMPP_JID, XMPP_PASSWORD, XMPP_NPM }
    = process.env;

export const [, user, domain, resource] = XMPP_JID.match(/^(.*)@(.*)\/(.*)$/);

export const url = `wss://${XMPP_HOST}:${XMPP_PORT}/xmpp-websocket`;


export function load(path) {
    return import(pathToFileURL(`${XMPP_NPM}/node_modules/${path}`));
}


export function say(line) {
    process.stdout.write(`${line}\n`);
}


export function fail(why) {
    say(`FAIL ${why}`);
    process.exit(1);
}


// handlers by the first word; what they return is awaited

export function listen(handlers) {
    createInterface({ input: process.stdin }).on('line', async (line) => {
        const [word, ...rest] = line.split(' ');

        await handlers[word]?.(...rest);
    });
}


export async function bye(how) {
    await how();
    process.stdout.write('BYE\n', () => process.exit(0));
}
